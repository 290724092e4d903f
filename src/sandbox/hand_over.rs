//! From a build's folder into Podman's storage.
//!
//! All that the build ran has ended, and nothing of what it left is believed: a blob must be there and have the digest that
//! the manifest names, since Podman takes one that it knows from its own storage, whoever put it there.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use data_encoding::HEXLOWER;
use nix::fcntl::OFlag;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::error::{SandboxError, output, system};
use super::folders::{make, remove};
use super::plan::Plan;
use super::room::room;
use crate::names::ImageId;

/// The largest manifest.
const MANIFEST: u64 = 4 * 1024 * 1024;
/// The largest configuration of an image, with its history. Podman tells it to whoever asks for the image, and the labels of
/// all images and containers to whoever asks for a list of them: no service's may crowd out the others'.
const CONFIG: u64 = 256 * 1024;
/// How much is read at once.
const PIECE: usize = 256 * 1024;

/// An image's manifest (image manifest V2, schema 2). Podman reads names in any case, and the last of two: there is no
/// other name here, and none twice.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    #[serde(rename = "schemaVersion")]
    _version: u8,
    #[serde(rename = "mediaType")]
    _kind: String,
    config: Blob,
    layers: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Blob {
    #[serde(rename = "mediaType")]
    _kind: String,
    #[serde(rename = "size")]
    _size: u64,
    digest: ImageId,
}

/// Gives Podman the image that lies in the build's folder, which must be the one of this id.
pub(super) fn take(plan: &Plan, id: &ImageId) -> Result<(), SandboxError> {
    let (found, size) = check(&plan.out)?;
    if found != *id {
        return Err(SandboxError::Image("it is another one than was built"));
    }
    // Podman copies it, then unpacks it. What is begun is not ended for want of room: it would leave layers of no image.
    if room(&plan.out)? < size.saturating_mul(2).saturating_add(plan.floor()) {
        return Err(system("take the image over")(std::io::Error::from_raw_os_error(nix::libc::ENOSPC)));
    }
    // Whose images this host takes was asked when the build fetched its bases.
    let policy = plan.context.with_extension("policy");
    let accept = json!([{ "type": "insecureAcceptAnything" }]);
    let rule = json!({ "default": [{ "type": "reject" }], "transports": { "dir": { "": accept } } });
    std::fs::write(&policy, rule.to_string()).map_err(system("take the image over"))?;
    let copies = plan.context.with_extension("pull");
    make(&copies, 0)?;
    let mut command = Command::new(&plan.podman);
    command.args(["pull", "--quiet", "--signature-policy"]).arg(&policy).env("TMPDIR", &copies);
    command.arg("--").arg(format!("dir:{}", plan.out));
    let taken = output(&mut command, "take the image over").map(drop);
    let _ = std::fs::remove_file(&policy);
    let _ = remove(&copies);
    taken
}

/// The id and the size of the image in this folder, all of which must be there.
fn check(folder: &Path) -> Result<(ImageId, u64), SandboxError> {
    let what = "read the build's image";
    let mut text = Vec::new();
    open(&folder.join("manifest.json"))?.take(MANIFEST).read_to_end(&mut text).map_err(system(what))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|_| SandboxError::Image("its manifest can't be read"))?;
    let mut names = HashSet::from(["manifest.json".to_owned(), "version".to_owned()]);
    open(&folder.join("version"))?;
    let mut size: u64 = 0;
    if open(&folder.join(manifest.config.digest.as_str()))?.metadata().map_err(system(what))?.len() > CONFIG {
        return Err(SandboxError::Image("its settings and its history take more than 256 KiB"));
    }
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        let digest = blob.digest.as_str();
        let file = open(&folder.join(digest))?;
        size = size.saturating_add(file.metadata().map_err(system(what))?.len());
        if hash(file).map_err(system(what))? != digest {
            return Err(SandboxError::Image("a blob is not what its name says"));
        }
        names.insert(digest.to_owned());
    }
    for entry in std::fs::read_dir(folder).map_err(system(what))? {
        let name = entry.map_err(system(what))?.file_name();
        if !name.to_str().is_some_and(|name| names.contains(name)) {
            return Err(SandboxError::Image("there is more than its manifest names"));
        }
    }
    Ok((manifest.config.digest, size))
}

/// A plain file, by no link.
fn open(path: &Path) -> Result<File, SandboxError> {
    let missing = || SandboxError::Image("not all of it is there");
    // A pipe that nobody writes to would be waited for.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits()).open(path).map_err(|_| missing())?;
    match file.metadata().is_ok_and(|found| found.is_file()) {
        true => Ok(file),
        false => Err(missing()),
    }
}

fn hash(mut file: File) -> std::io::Result<String> {
    let (mut sum, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(HEXLOWER.encode(&sum.finalize())),
            length => sum.update(&piece[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, data: &[u8]) -> String {
        let digest = HEXLOWER.encode(&Sha256::digest(data));
        std::fs::write(folder.join(&digest), data).unwrap();
        digest
    }

    fn manifest(folder: &Path, config: &str, layer: &str) {
        let blob = |digest: &str| format!(r#"{{"mediaType":"x","size":1,"digest":"sha256:{digest}"}}"#);
        let (config, layer) = (blob(config), blob(layer));
        let text = format!(r#"{{"schemaVersion":2,"mediaType":"x","config":{config},"layers":[{layer}]}}"#);
        std::fs::write(folder.join("manifest.json"), text).unwrap();
    }

    fn why(folder: &Path) -> String {
        check(folder).unwrap_err().to_string()
    }

    #[test]
    fn an_image_is_taken_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(why(folder).contains("not all of it is there"));
        let (config, layer) = (put(folder, b"{}"), put(folder, b"a layer"));
        std::fs::write(folder.join("version"), "Directory Transport Version: 1.1\n").unwrap();
        manifest(folder, &config, &layer);
        let (id, size) = check(folder).unwrap();
        assert_eq!((id.as_str(), size), (config.as_str(), 9));
        std::os::unix::fs::symlink("/etc/passwd", folder.join("signature-1")).unwrap();
        assert!(why(folder).contains("more than its manifest names"));
        std::fs::remove_file(folder.join("signature-1")).unwrap();

        let large = put(folder, &vec![b' '; usize::try_from(CONFIG).unwrap() + 1]);
        manifest(folder, &large, &layer);
        assert!(why(folder).contains("more than 256 KiB"));
        std::fs::remove_file(folder.join(&large)).unwrap();

        // What another service's image is made of, by its digest alone, by a link, and by another file of its name.
        let foreign = "a".repeat(64);
        manifest(folder, &config, &foreign);
        assert!(why(folder).contains("not all of it is there"));
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.join(&foreign)).unwrap();
        assert!(why(folder).contains("not all of it is there"));
        std::fs::remove_file(folder.join(&foreign)).unwrap();
        std::fs::write(folder.join(&foreign), b"something else").unwrap();
        assert!(why(folder).contains("not what its name says"));
        std::fs::remove_file(folder.join(&foreign)).unwrap();
        nix::unistd::mkfifo(&folder.join(&foreign), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(why(folder).contains("not all of it is there"));

        for digest in ["../../etc/passwd", "", "AAAA"] {
            manifest(folder, &config, digest);
            assert!(why(folder).contains("can't be read"), "{digest}");
        }
        manifest(folder, &config, &layer);
        let good = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
        let second = |name: &str| good.replace(r#""config""#, &format!(r#""{name}":[],"config""#));
        for bad in ["[]".to_owned(), second("Layers"), second("layers"), second("annotations")] {
            std::fs::write(folder.join("manifest.json"), &bad).unwrap();
            assert!(why(folder).contains("can't be read"), "{bad}");
        }
    }
}
