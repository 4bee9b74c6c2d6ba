//! The steps that bring the tables up to date, from `migrations/`. One that was released never changes.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Version, description and SQL of each.
const ALL: &[(i64, &str, &str)] = &include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

pub(crate) fn migrator() -> Migrator {
    let migration = |&(version, description, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(ALL.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database says which migrations it has had by version and SHA-384, and refuses to be opened with another.
    #[test]
    fn released_migrations_are_as_they_were() {
        let migrator = migrator();
        let known = migrator.iter().map(|one| (one.version, one.description.as_ref(), one.checksum[..4].to_vec()));
        let released = [
            (1, "first", vec![0xe6, 0xdf, 0xe3, 0xfc]),
            (2, "sandbox version", vec![0x24, 0x92, 0x6d, 0xa8]),
            (3, "network", vec![0x6f, 0x16, 0x7c, 0xf1]),
            (4, "links", vec![0x57, 0xe6, 0xc5, 0xfb]),
        ];
        assert_eq!(known.take(released.len()).collect::<Vec<_>>(), released);
    }
}
