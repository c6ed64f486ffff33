//! Keys in files: the server's own, and the one that a cluster shares.
//!
//! Invariants: a key file is made with mode 0600 from its first byte on, whole or not at all, and
//! never over another one. No key is ever printed.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::{CertifiedKey, SigningKey};

use super::verify::{fingerprint, fingerprint_of_key, provider};
use crate::core::error::{Code, Error, Result};
use crate::core::io::disk::{Disk, RealDisk, read_whole, write_whole};
use crate::core::io::private;
use crate::core::types::Fingerprint;

/// The largest key or certificate file that is read. A chain of certificates has some kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

const SERVER_KEY: &str = "server.key";
const SERVER_CERTIFICATE: &str = "server.crt";

/// The name in the certificate that a server makes for itself. Nobody checks it.
const SELF_SIGNED_NAME: &str = "palk";

const CLUSTER_KEY_HEAD: &str = "\
This is the key of a Palk cluster. Whoever has it can read and remove everything on its nodes.
Keep a copy on the server and on each node, readable by their owner only.
";

/// What a server shows to its clients.
#[derive(Clone)]
pub struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// The key and the self-signed certificate in this folder (`user_database/tls`), made if there
    /// are none. The names of files and folders whose mode had to be mended are added to `mended`.
    ///
    /// # Errors
    /// [`Code::LocalFile`] or [`Code::Usage`] with the file's name if one cannot be read, written or
    /// understood.
    pub fn of_folder(folder: &Path, mended: &mut Vec<PathBuf>) -> Result<Identity> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(Error::io(format!("cannot make the folder {}", folder.display())))?;
        let [certificate, key] = Identity::files_in(folder);
        mended.extend(private::mend_all(folder)?);
        if !exists(&key)? {
            write(&key, &KeyPair::generate().map_err(unmade)?.serialize_pem())?;
        }
        if !exists(&certificate)? {
            // Also after a crash between the two: the key is the one that clients know.
            let text = text_of(&key)?;
            let pair = KeyPair::from_pem(&text).map_err(|_| unreadable(&key, "no private key"))?;
            let made = CertificateParams::new(vec![SELF_SIGNED_NAME.to_owned()])
                .and_then(|params| params.self_signed(&pair))
                .map_err(unmade)?;
            write(&certificate, &made.pem())?;
        }
        Identity::of_files(&certificate, &key)
    }

    /// Where the certificate and the key of such a folder are.
    pub fn files_in(folder: &Path) -> [PathBuf; 2] {
        [folder.join(SERVER_CERTIFICATE), folder.join(SERVER_KEY)]
    }

    /// The certificate (followed by those that lead to its authority) and the key in these files,
    /// both PEM.
    ///
    /// # Errors
    /// [`Code::LocalFile`] or [`Code::Usage`] with the file's name if one cannot be read or
    /// understood, or if they do not belong together.
    pub fn of_files(certificate: &Path, key: &Path) -> Result<Identity> {
        let text = text_of(certificate)?;
        let chain: std::result::Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let chain = chain.map_err(|_| unreadable(certificate, "no certificate in PEM form"))?;
        let Some(print) = chain.first().and_then(fingerprint) else {
            return Err(unreadable(certificate, "no certificate in PEM form"));
        };
        let certified = CertifiedKey::new(chain, signing_key(key)?);
        certified.keys_match().map_err(|_| {
            let text = format!(
                "the key in {} does not belong to the certificate in {}",
                key.display(),
                certificate.display()
            );
            Error::other(Code::Usage, text)
        })?;
        Ok(Identity { certified: Arc::new(certified), fingerprint: print })
    }

    /// What clients recognise it by.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// The key that the server and the nodes of a cluster share, by which they know each other.
#[derive(Clone)]
pub struct ClusterKey {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) public: SubjectPublicKeyInfoDer<'static>,
}

impl ClusterKey {
    /// Makes a key and writes it to a new file, which only its owner may read.
    ///
    /// # Errors
    /// [`Code::Exists`] if there is a file, which is left as it is; [`Code::LocalFile`] if it cannot
    /// be written.
    pub fn create(path: &Path) -> Result<ClusterKey> {
        let text = KeyPair::generate().map_err(unmade)?.serialize_pem();
        let mut options = OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(path);
        let mut file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let text = format!("{} exists already, and keys are not replaced", path.display());
                Error::other(Code::Exists, text)
            }
            _ => Error::io(format!("cannot write {}", path.display()))(error),
        })?;
        let written = file
            .write_all(CLUSTER_KEY_HEAD.as_bytes())
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(path); // half a key is none
            return Err(Error::io(format!("cannot write {}", path.display()))(error));
        }
        ClusterKey::read(path)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] if others than its owner may read or change it; [`Code::LocalFile`] or
    /// [`Code::Usage`] if it cannot be read or holds no key.
    pub fn read(path: &Path) -> Result<ClusterKey> {
        let found = fs::metadata(path);
        let found = found.map_err(Error::io(format!("cannot read {}", path.display())))?;
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let text = format!("the key in {} is open to others (mode {mode:04o})", path.display());
            return Err(Error::other(Code::NotAllowed, text));
        }
        let signing = signing_key(path)?;
        let public = signing.public_key().ok_or_else(|| unreadable(path, "no usable key"))?;
        let public = public.into_owned();
        let shown = CertificateDer::from(public.as_ref().to_vec());
        let certified = Arc::new(CertifiedKey::new(vec![shown], signing));
        Ok(ClusterKey { certified, public })
    }

    /// What two copies of one key have in common, for people who want to compare them.
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint_of_key(&self.public)
    }
}

fn signing_key(path: &Path) -> Result<Arc<dyn SigningKey>> {
    let text = text_of(path)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| unreadable(path, "no private key in PEM form"))?;
    let loaded = provider().key_provider.load_private_key(key);
    loaded.map_err(|_| unreadable(path, "a private key of a kind that is not known"))
}

fn text_of(path: &Path) -> Result<String> {
    let failed = || format!("cannot read {}", path.display());
    let bytes = read_whole(&RealDisk, path, FILE_BYTES_MAX).map_err(Error::io(failed()))?;
    let bytes = bytes.ok_or_else(|| Error::io(failed())(io::ErrorKind::NotFound.into()))?;
    String::from_utf8(bytes).map_err(|_| unreadable(path, "something that is not text"))
}

fn exists(path: &Path) -> Result<bool> {
    RealDisk.exists(path).map_err(Error::io(format!("cannot look for {}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<()> {
    write_whole(&RealDisk, path, text.as_bytes())
        .map_err(Error::io(format!("cannot write {}", path.display())))
}

fn unreadable(path: &Path, what: &str) -> Error {
    Error::other(Code::Usage, format!("{} holds {what}", path.display()))
}

fn unmade(error: rcgen::Error) -> Error {
    Error::other(Code::Unexpected, format!("cannot make a key: {error}"))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_server_keeps_its_identity_and_mends_loose_modes() {
        let folder = tempfile::tempdir().unwrap();
        let tls = folder.path().join("tls");
        let mut mended = Vec::new();
        let first = Identity::of_folder(&tls, &mut mended).unwrap().fingerprint();
        assert!(mended.is_empty());
        let (key, certificate) = (tls.join(SERVER_KEY), tls.join(SERVER_CERTIFICATE));
        assert_eq!((mode(&tls), mode(&key), mode(&certificate)), (0o700, 0o600, 0o600));

        fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&tls, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(Identity::of_folder(&tls, &mut mended).unwrap().fingerprint(), first);
        assert_eq!(mended, [tls.clone(), key.clone()]);
        assert_eq!((mode(&tls), mode(&key)), (0o700, 0o600));

        // As after a crash between the two files, and with a renewed certificate.
        fs::remove_file(&certificate).unwrap();
        assert_eq!(Identity::of_folder(&tls, &mut mended).unwrap().fingerprint(), first);
        fs::remove_file(&key).unwrap();
        let error = Identity::of_folder(&tls, &mut mended).err().unwrap();
        assert!(error.to_string().contains("does not belong"), "{error}");
        fs::remove_file(&certificate).unwrap();
        assert_ne!(Identity::of_folder(&tls, &mut mended).unwrap().fingerprint(), first);
    }

    #[test]
    fn a_cluster_key_is_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.key");
        let made = ClusterKey::create(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        let text = fs::read(&path).unwrap();
        assert_eq!(ClusterKey::create(&path).err().unwrap().code(), Code::Exists);
        assert_eq!(fs::read(&path).unwrap(), text);
        assert_eq!(ClusterKey::read(&path).unwrap().fingerprint(), made.fingerprint());

        let other = ClusterKey::create(&folder.path().join("other.key")).unwrap();
        assert_ne!(other.fingerprint(), made.fingerprint());
        for loose in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, Permissions::from_mode(loose)).unwrap();
            let error = ClusterKey::read(&path).err().unwrap();
            assert_eq!(error.code(), Code::NotAllowed, "{loose:o}");
        }
    }

    #[test]
    fn a_file_without_a_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert_eq!(ClusterKey::read(&path).err().unwrap().code(), Code::LocalFile);
        fs::write(&path, "nothing").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let error = ClusterKey::read(&path).err().unwrap();
        assert_eq!(error.code(), Code::Usage);
        assert!(error.to_string().contains("no private key"), "{error}");
        assert!(Identity::of_files(&path, &path).is_err());
    }
}
