//! What one TCP connection carries out of a sandbox, beside a plain pair of interfaces into an empty namespace.
//!
//! The same program sends in both, to us in the host's namespace; they take turns.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::connection::{Connection, Target};
use crate::figures::round;
use crate::sandbox;

const PORT: u16 = 5201;
const SIZE: u64 = 1 << 30;
const TURNS: usize = 7;
/// Of the plain pair; from the block for benchmarks (RFC 2544).
const HERE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const INTERFACE: &str = "sebring-plain";

/// Sends [`SIZE`] bytes to each who connects. It says when it listens, and has no pages to fault in any more.
fn sender() -> String {
    format!(
        "import socket\nb = bytes(1 << 18)\ns = socket.create_server(('0.0.0.0', {PORT}))\nprint('ready', flush=True)\n\
         while True:\n c = s.accept()[0]\n for _ in range({SIZE} // len(b)): c.sendall(b)\n c.close()\n"
    )
}

pub async fn throughput(target: &Target) -> Result<Value> {
    let mut connection = target.connect().await?;
    // A CPU more than the sender needs, so that its limit is not what is measured.
    let made = connection.api(Method::POST, "/sandbox", &json!({ "cpu": 2 }).to_string()).await?;
    let id = made["id"].as_str().context("a sandbox without an id")?.to_owned();
    let address = listen_inside(&mut connection, &id).await?;
    let read = json!({ "command": "cat /sys/class/net/eth0/mtu" }).to_string();
    let mtu = connection.toolbox(&id, Method::POST, "/process/execute", &read).await?;
    let plain = Plain::start(mtu["result"].as_str().unwrap_or_default().trim()).await?;

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.push(receive(address)?);
        theirs.push(receive(THERE)?);
    }
    drop(plain);
    sandbox::remove(&mut connection, &id).await?;
    let (ours, theirs) = (median(ours), median(theirs));
    Ok(json!({
        "from_sandbox_mb_per_s": round(ours),
        "plain_veth_mb_per_s": round(theirs),
        "of_plain_percent": round(100.0 * ours / theirs),
    }))
}

/// Starts the sender in a sandbox; answers the sandbox's address.
async fn listen_inside(connection: &mut Connection, id: &str) -> Result<Ipv4Addr> {
    let script = format!(
        "cat >sender.py <<'END'\n{}END\nmkfifo ready; (python3 sender.py >ready 2>&1 &); read line <ready; hostname -I",
        sender()
    );
    let body = json!({ "command": script }).to_string();
    let answer = connection.toolbox(id, Method::POST, "/process/execute", &body).await?;
    let text = answer["result"].as_str().unwrap_or_default().trim();
    text.parse().with_context(|| format!("no address of the sandbox: {answer}"))
}

/// The sender in a network namespace that has nothing but one end of a pair. It ends with this.
struct Plain(#[expect(dead_code, reason = "killed when dropped, and the namespace and the pair with it")] Child);

impl Plain {
    async fn start(mtu: &str) -> Result<Self> {
        let script = "echo started; read go; ip link set lo up; ip link set eth0 up; ip address add $0/30 dev eth0; \
                      exec python3 -c \"$1\"";
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", script, &THERE.to_string(), &sender()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("unshare can't be run")?;
        let mut lines = BufReader::new(child.stdout.take().context("no pipe from the child")?).lines();
        ensure!(lines.next_line().await?.as_deref() == Some("started"), "no network namespace could be made");
        let pid = child.id().context("the child has ended")?.to_string();
        let pair =
            ["link", "add", INTERFACE, "mtu", mtu, "type", "veth", "peer", "name", "eth0", "mtu", mtu, "netns", &pid];
        ip(&pair).await?;
        ip(&["address", "add", &format!("{HERE}/30"), "dev", INTERFACE]).await?;
        ip(&["link", "set", INTERFACE, "up"]).await?;
        child.stdin.take().context("no pipe to the child")?.write_all(b"go\n").await?;
        ensure!(lines.next_line().await?.as_deref() == Some("ready"), "the sender did not start");
        Ok(Self(child))
    }
}

async fn ip(arguments: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(arguments).status().await.context("ip can't be run (package iproute2)")?;
    if !status.success() {
        bail!("ip {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}

/// Megabytes per second.
fn receive(address: Ipv4Addr) -> Result<f64> {
    let mut stream = TcpStream::connect((address, PORT))?;
    let mut buffer = vec![0; 1 << 20];
    let began = Instant::now();
    let mut received = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            length => received += length as u64,
        }
    }
    ensure!(received == SIZE, "only {received} bytes of {SIZE} came");
    Ok(SIZE as f64 / 1e6 / began.elapsed().as_secs_f64())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
