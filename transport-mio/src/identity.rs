//! Who a server is: its certificate and key, made on the first start or the operator's own.

use std::{
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chinwag_proto::{link::Fingerprint, wire::control};
use rustls::{
    CipherSuite, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::NoServerSessionStorage,
    version::TLS13,
};

/// File names in the data folder.
const CERTIFICATE_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";

/// A server's certificate chain and private key, ready for TLS.
#[derive(Clone)]
pub struct Identity {
    tls: Arc<ServerConfig>,
    fingerprint: Fingerprint,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// Why there is no identity: one line that says what to do.
#[derive(Debug)]
pub struct IdentityError(String);

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IdentityError {}

impl Identity {
    /// The identity kept in `folder`; on first use a self-signed one (ECDSA P-256) is made there.
    ///
    /// # Errors
    /// When the folder cannot be used or what is in it is no certificate and key.
    pub fn load_or_make(folder: &Path) -> Result<Self, IdentityError> {
        let (certificate, key) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
        match (exists(&certificate)?, exists(&key)?) {
            (true, true) => {}
            (false, false) => make(folder, &certificate, &key)?,
            (true, false) | (false, true) => {
                let folder = folder.display();
                return Err(IdentityError(format!(
                    "{folder} has only one of {CERTIFICATE_FILE} and {KEY_FILE}; bring the other one back, \
                     or remove both to get a new identity (all clients will have to trust it anew)"
                )));
            }
        }
        Self::from_pem_files(&certificate, &key)
    }

    /// The identity in the operator's own files: a certificate chain and its key, both PEM.
    ///
    /// # Errors
    /// When a file cannot be read, is no PEM, or the two do not belong together.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let unreadable = |path: &Path, error: &dyn fmt::Display| {
            IdentityError(format!("{}: cannot be used as PEM: {error}", path.display()))
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(|error| unreadable(certificate, &error))?;
        let Some(leaf) = chain.first() else {
            return Err(unreadable(certificate, &"there is no certificate in it"));
        };
        let fingerprint = fingerprint_of(leaf);
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
            if is_encrypted(key) {
                let what_to_do = "the key is encrypted, and nobody is there to type its passphrase when a server \
                                  starts; write a plain one with: openssl pkey -in OLD -out NEW";
                unreadable(key, &what_to_do)
            } else if matches!(error, pem::Error::NoItemsFound) {
                unreadable(key, &"there is no private key in it")
            } else {
                unreadable(key, &error)
            }
        })?;
        warn_of_readers(key);
        let mut tls = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&TLS13])
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
            .map_err(|error| {
                let (certificate, key) = (certificate.display(), key.display());
                IdentityError(format!("{certificate} and {key} cannot be used together: {error}"))
            })?;
        tls.alpn_protocols = vec![control::ALPN.to_vec()];
        tls.ignore_client_order = true;
        // Clients resume in the protocol itself; a ticket would only cost memory.
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { tls: Arc::new(tls), fingerprint })
    }

    /// By what clients know this server again.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.tls)
    }
}

/// The suites of TLS 1.3, the one that takes least first: AES-128-GCM is what seals the voice, too, and processors that have
/// instructions for SHA-256 have none for the SHA-384 that goes with AES-256.
fn provider() -> CryptoProvider {
    let mut provider = default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

pub(crate) fn fingerprint_of(certificate: &CertificateDer<'_>) -> Fingerprint {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    Fingerprint::new(digest.as_ref().try_into().unwrap_or([0; 32]))
}

fn exists(path: &Path) -> Result<bool, IdentityError> {
    path.try_exists().map_err(|error| {
        let path = path.display();
        IdentityError(format!("{path}: cannot be looked at: {error}; choose another folder with --data DIR"))
    })
}

fn make(folder: &Path, certificate: &Path, key: &Path) -> Result<(), IdentityError> {
    let failed = |error: rcgen::Error| IdentityError(format!("no certificate could be made: {error}"));
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = rcgen::CertificateParams::new(vec!["chinwag".to_owned()]).map_err(failed)?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "chinwag");
    let made = params.self_signed(&pair).map_err(failed)?;

    let unwritable = |path: &Path, error: io::Error| {
        let path = path.display();
        IdentityError(format!("{path}: cannot be written: {error}; choose another folder with --data DIR"))
    };
    create_private_folder(folder).map_err(|error| unwritable(folder, error))?;
    // The certificate comes last: whoever finds it finds the key too.
    for (path, pem, mode) in [(key, pair.serialize_pem(), 0o600), (certificate, made.pem(), 0o644)] {
        write_whole(path, pem.as_bytes(), mode).map_err(|error| {
            // One alone is what nobody dares to replace; neither was there before.
            let _ = fs::remove_file(key);
            unwritable(path, error)
        })?;
    }
    Ok(())
}

/// Makes a folder, and what is missing above it, for this user alone. One that is there stays as it is.
fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Whether a PEM file has an encrypted key in it (RFC 5958, or OpenSSL's older form).
fn is_encrypted(key: &Path) -> bool {
    fs::read_to_string(key).is_ok_and(|pem| pem.contains("ENCRYPTED"))
}

/// A private key that everybody on this machine can read is none; whose it is decides what to do about it.
fn warn_of_readers(key: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if fs::metadata(key).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
            let key = key.display();
            tracing::warn!("{key} can be read by every user of this machine; chmod 600 {key}");
        }
    }
    #[cfg(not(unix))]
    let _ = key;
}

/// Writes a file so that it is there whole or not at all, with `mode` from its first moment.
pub(crate) fn write_whole(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    // Others, of this process too, may be writing the same file at this moment.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    temporary.push(format!(".{}.{}.new", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    let temporary = PathBuf::from(temporary);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // What a former process with this number left behind.
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::OpenOptions::new();
    // A new file only: never through somebody's link, never with a mode that was there before.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = (|| {
        let mut file = options.open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // It may never have come to be.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let first = Identity::load_or_make(&data).unwrap().fingerprint();
        assert_eq!(Identity::load_or_make(&data).unwrap().fingerprint(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(data.join(KEY_FILE)), mode(data.clone())), (0o600, 0o700));
        }
        fs::remove_file(data.join(KEY_FILE)).unwrap();
        let error = Identity::load_or_make(&data).unwrap_err().to_string();
        assert!(error.contains("only one of"), "{error}");
    }

    #[test]
    fn a_key_whose_certificate_cannot_be_written_is_not_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join(CERTIFICATE_FILE), folder.path().join(KEY_FILE));
        // Nothing can be put in its place.
        fs::create_dir(&certificate).unwrap();
        let error = make(folder.path(), &certificate, &key).unwrap_err().to_string();
        assert!(error.contains("cert.pem: cannot be written"), "{error}");
        fs::remove_dir(&certificate).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        Identity::load_or_make(folder.path()).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn what_is_written_never_goes_through_a_link_nor_keeps_a_former_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (key, elsewhere) = (folder.path().join("key"), folder.path().join("elsewhere"));
        fs::write(&elsewhere, "theirs").unwrap();
        // Whichever number the write has.
        for n in 0..200 {
            let temporary = folder.path().join(format!("key.{}.{n}.new", std::process::id()));
            std::os::unix::fs::symlink(&elsewhere, temporary).unwrap();
        }
        write_whole(&key, b"secret", 0o600).unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"theirs");
        assert_eq!(fs::read(&key).unwrap(), b"secret");
        assert_eq!(fs::symlink_metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn keys_of_the_usual_kinds_are_taken_and_encrypted_ones_are_explained() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        for kind in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_RSA_SHA256,
        ] {
            let pair = rcgen::KeyPair::generate_for(kind).unwrap();
            let made = rcgen::CertificateParams::new(vec!["x".into()]).unwrap().self_signed(&pair).unwrap();
            fs::write(&certificate, made.pem()).unwrap();
            fs::write(&key, pair.serialize_pem()).unwrap();
            Identity::from_pem_files(&certificate, &key).unwrap();
        }
        for (pem, why) in [
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "passphrase",
            ),
            (
                "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIIB\n\
                 -----END EC PRIVATE KEY-----\n",
                "passphrase",
            ),
            ("nothing of the kind", "no private key"),
        ] {
            fs::write(&key, pem).unwrap();
            let error = Identity::from_pem_files(&certificate, &key).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        Identity::load_or_make(&a).unwrap();
        Identity::load_or_make(&b).unwrap();
        assert!(Identity::from_pem_files(&a.join(CERTIFICATE_FILE), &b.join(KEY_FILE)).is_err());
        assert!(Identity::from_pem_files(&a.join(KEY_FILE), &a.join(CERTIFICATE_FILE)).is_err());
        assert!(Identity::from_pem_files(&a.join("nothing"), &a.join(KEY_FILE)).is_err());
    }
}
