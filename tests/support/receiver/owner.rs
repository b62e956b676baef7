//! Which process holds the other end of a connection: what tells two gateways apart that send the same requests.

use std::fs;

/// The one of `suspects` whose socket is connected from `from` to `to` on loopback.
pub fn of(from: u16, to: u16, suspects: &[u32]) -> Option<u32> {
    if suspects.is_empty() {
        return None;
    }
    let link = format!("socket:[{}]", inode(from, to)?);
    suspects.iter().copied().find(|pid| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|at| at.as_os_str() == link.as_str()))
    })
}

/// proc_net_tcp(5): column 2 is the local address, 3 the remote one, 10 the inode.
fn inode(from: u16, to: u16) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let port = |column: &str| u16::from_str_radix(column.split_once(':')?.1, 16).ok();
        let found = port(columns.get(1)?)? == from && port(columns.get(2)?)? == to;
        found.then(|| columns.get(9)?.parse().ok())?
    })
}
