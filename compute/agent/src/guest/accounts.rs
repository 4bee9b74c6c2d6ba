//! `/etc/passwd` and `/etc/group`, read without the C library's name services, which a static program lacks.
//!
//! Formats: passwd(5), group(5). Lines that do not parse are passed over, as the C library does.

use std::collections::HashMap;
use std::path::Path;

use super::files;

/// Bytes that are read of each file: some ten thousand accounts.
const LIMIT: u64 = 1 << 20;

/// One line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
}

/// Both files, read once for one request: the sandbox may change them at any time.
#[derive(Debug, Default)]
pub struct Accounts {
    accounts: Vec<Account>,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

impl Accounts {
    /// What the files say now; a missing file, or one that is none, is an empty one. Lines beyond a length are passed over.
    pub fn read() -> Self {
        let text = |path| {
            let mut text = files::read(Path::new(path), LIMIT).unwrap_or_default();
            if text.len() as u64 == LIMIT {
                // The last line may have been cut.
                text.truncate(text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0));
            }
            text
        };
        Self::parse(&String::from_utf8_lossy(&text("/etc/passwd")), &String::from_utf8_lossy(&text("/etc/group")))
    }

    pub fn parse(passwd: &str, group: &str) -> Self {
        Self {
            accounts: passwd.lines().filter_map(parse_account).collect(),
            groups: group.lines().filter_map(parse_group).collect(),
        }
    }

    /// The account with this name or, when there is none, with this decimal uid.
    pub fn find(&self, name_or_uid: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == name_or_uid).or_else(|| {
            let uid: u32 = name_or_uid.parse().ok()?;
            self.accounts.iter().find(|account| account.uid == uid)
        })
    }

    /// A group's id by its name or decimal id; a number needs no entry.
    pub fn group_id(&self, name_or_gid: &str) -> Option<u32> {
        let named = self.groups.iter().find(|group| group.name == name_or_gid).map(|group| group.gid);
        named.or_else(|| name_or_gid.parse().ok())
    }

    /// A user's id by its name or decimal id; a number needs no entry.
    pub fn user_id(&self, name_or_uid: &str) -> Option<u32> {
        self.find(name_or_uid).map(|account| account.uid).or_else(|| name_or_uid.parse().ok())
    }

    /// The groups that list the user as a member, besides its own.
    pub fn supplementary_groups(&self, user: &str) -> Vec<u32> {
        let member_of = |group: &&Group| group.members.iter().any(|member| member == user);
        self.groups.iter().filter(member_of).map(|group| group.gid).collect()
    }

    /// Names by id, for listings.
    pub fn names(&self) -> Names {
        Names {
            users: self.accounts.iter().rev().map(|account| (account.uid, account.name.clone())).collect(),
            groups: self.groups.iter().rev().map(|group| (group.gid, group.name.clone())).collect(),
        }
    }
}

/// Names of owners and groups; an id without a name is its own decimal.
#[derive(Debug)]
pub struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    pub fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    pub fn group(&self, gid: u32) -> String {
        self.groups.get(&gid).cloned().unwrap_or_else(|| gid.to_string())
    }
}

fn parse_account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = fields.nth(1)?.to_owned();
    Some(Account { name, uid, gid, home })
}

fn parse_group(line: &str) -> Option<Group> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let gid = fields.nth(1)?.parse().ok()?;
    let members = fields.next().unwrap_or("").split(',').filter(|member| !member.is_empty());
    Some(Group { name, gid, members: members.map(str::to_owned).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\n# comment\nbroken:x:y:0::/:\n\
                          daytona:x:1000:1001:,,,:/home/daytona:/bin/bash\nodd:x:7:7\n";
    const GROUP: &str = "root:x:0:\nsudo:x:27:daytona,other\ndocker:x:999:daytona\ndaytona:x:1001:\nbad\n";

    #[test]
    fn finds_users_by_name_and_uid() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        let daytona = Account { name: "daytona".into(), uid: 1000, gid: 1001, home: "/home/daytona".into() };
        assert_eq!(accounts.find("daytona"), Some(&daytona));
        assert_eq!(accounts.find("1000"), Some(&daytona));
        assert_eq!(accounts.find("broken"), None);
        assert_eq!(accounts.find("odd"), None);
        assert_eq!(accounts.user_id("4242"), Some(4242));
        assert_eq!(accounts.user_id("nobody-here"), None);
    }

    #[test]
    fn finds_groups() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        assert_eq!(accounts.supplementary_groups("daytona"), [27, 999]);
        assert_eq!(accounts.group_id("sudo"), Some(27));
        assert_eq!(accounts.group_id("12"), Some(12));
        assert_eq!(accounts.group_id("bad"), None);
        assert_eq!(accounts.names().group(1001), "daytona");
        assert_eq!(accounts.names().user(5), "5");
    }
}
