// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The management console of User-Mode Linux: a datagram socket that the kernel serves from an
//! interrupt, and so when it has stopped doing anything else
//! (Documentation/virt/uml/user_mode_linux_howto_v2.rst).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of the kernel's `struct mconsole_request`: magic, version, length, text.
const MAGIC: u32 = 0xcafe_babe;
const VERSION: u32 = 2;
const TEXT: usize = 512;

/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sends `command` to the guest whose `uml_dir` is `scratch`, and waits for its answer.
///
/// # Errors
/// When there is no such guest, or it does not answer.
pub fn ask(scratch: &Path, command: &str) -> io::Result<()> {
    let socket = find(scratch).ok_or(io::ErrorKind::NotFound)?;
    let own = scratch.join("mconsole-client");
    let _ = std::fs::remove_file(&own);
    // The kernel answers to an address, so there has to be one.
    let client = UnixDatagram::bind(&own)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.send_to(&request(command), socket)?;
    client.recv(&mut [0; 1024])?;
    Ok(())
}

/// The socket, in a directory that has the guest's own name for itself.
fn find(scratch: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(scratch).ok()?.flatten();
    entries
        .map(|entry| entry.path().join("mconsole"))
        .find(|path| path.exists())
}

fn request(command: &str) -> Vec<u8> {
    let text = &command.as_bytes()[..command.len().min(TEXT - 1)];
    let length = u32::try_from(text.len()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(12 + TEXT);
    for word in [MAGIC, VERSION, length] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(text);
    bytes.resize(12 + TEXT, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ask_sends_the_command_and_takes_an_answer() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("name")).unwrap();
        let kernel = UnixDatagram::bind(scratch.path().join("name/mconsole")).unwrap();
        let serve = std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            let (length, from) = kernel.recv_from(&mut bytes).unwrap();
            kernel.send_to(b"ok", from.as_pathname().unwrap()).unwrap();
            bytes[..length].to_vec()
        });
        ask(scratch.path(), "sysrq t").unwrap();
        let bytes = serve.join().unwrap();
        assert_eq!(bytes.len(), 524);
        assert_eq!(&bytes[..4], &MAGIC.to_ne_bytes());
        assert_eq!(&bytes[12..20], b"sysrq t\0");
    }

    #[test]
    fn ask_without_a_guest_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(ask(scratch.path(), "sysrq t").is_err());
    }
}
