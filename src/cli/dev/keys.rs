//! Keys of a data folder: made once, readable by their owner only.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use uuid::Uuid;

/// What the file `name` in the folder holds; `make` makes it where there is none.
pub fn kept(data_dir: &Path, name: &str, make: impl Fn() -> String) -> std::io::Result<String> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    let path = data_dir.join(name);
    match fs::read_to_string(&path) {
        Ok(key) if !key.trim().is_empty() => return Ok(key.trim().to_owned()),
        Ok(_) => fs::remove_file(&path)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let key = make();
    // Whole before it has its name: of two that begin together both go on with the one that was first.
    let new = data_dir.join(format!("{name}.{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{key}")?;
    let named = fs::hard_link(&new, &path);
    fs::remove_file(&new)?;
    match named {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(fs::read_to_string(&path)?.trim().to_owned()),
        named => named.map(|()| key),
    }
}

pub fn new_admin_key() -> String {
    format!("tgdev_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}
