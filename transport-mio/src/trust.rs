//! Whether a client trusts a server: a fingerprint given in advance, or the one it saw the first time.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use chinwag_proto::{link::Fingerprint, wire::control};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};

use crate::identity::{fingerprint_of, write_whole};

/// The servers that were seen, in a text file: a line `HOST:PORT FINGERPRINT` for each.
#[derive(Clone, Debug)]
pub struct KnownHosts {
    path: PathBuf,
}

impl KnownHosts {
    /// The file at `path`; it need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The fingerprint that `authority` (`HOST:PORT`) had.
    ///
    /// # Errors
    /// When the file is there but cannot be read. A line that is no such line is passed over.
    pub fn get(&self, authority: &str) -> io::Result<Option<Fingerprint>> {
        Ok(self.lines()?.iter().find_map(|line| {
            let (host, hex) = line.split_once(' ')?;
            (host == authority).then(|| Fingerprint::parse(hex.trim()).ok()).flatten()
        }))
    }

    /// Remembers `fingerprint` for `authority` in place of what was there.
    ///
    /// # Errors
    /// When the file or its folder cannot be written.
    pub fn set(&self, authority: &str, fingerprint: Fingerprint) -> io::Result<()> {
        let mut lines = self.lines()?;
        lines.retain(|line| line.split_once(' ').is_none_or(|(host, _)| host != authority));
        lines.push(format!("{authority} {fingerprint}"));
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        write_whole(&self.path, (lines.join("\n") + "\n").as_bytes(), 0o600)
    }

    fn lines(&self) -> io::Result<Vec<String>> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Checks the certificate's fingerprint against the expected one, if there is one, and always that the server holds
/// the certificate's key. Names, dates and authorities mean nothing here: trust is on first use.
#[derive(Debug)]
pub(crate) struct PinVerifier {
    provider: Arc<CryptoProvider>,
    expected: Option<Fingerprint>,
    seen: Mutex<Option<Fingerprint>>,
}

impl PinVerifier {
    pub(crate) fn new(expected: Option<Fingerprint>) -> Arc<Self> {
        let provider = Arc::new(default_provider());
        Arc::new(Self { provider, expected, seen: Mutex::new(None) })
    }

    /// The fingerprint of the certificate that the server showed last.
    pub(crate) fn seen(&self) -> Option<Fingerprint> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// TLS for a client that trusts by this verifier.
    pub(crate) fn tls(self: &Arc<Self>) -> Result<Arc<ClientConfig>, Error> {
        let verifier = Arc::clone(self) as Arc<dyn ServerCertVerifier>;
        let mut tls = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        tls.alpn_protocols = vec![control::ALPN.to_vec()];
        tls.resumption = Resumption::disabled();
        Ok(Arc::new(tls))
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = fingerprint_of(end_entity);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        if self.expected.is_none_or(|expected| expected == seen) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownHosts::new(folder.path().join("config/known_hosts"));
        assert_eq!(known.get("h:1").unwrap(), None);
        let (a, b) = (Fingerprint::new([1; 32]), Fingerprint::new([2; 32]));
        known.set("h:1", a).unwrap();
        known.set("h:2", b).unwrap();
        assert_eq!(known.get("h:1").unwrap(), Some(a));
        known.set("h:1", b).unwrap();
        assert_eq!((known.get("h:1").unwrap(), known.get("h:2").unwrap()), (Some(b), Some(b)));
        assert_eq!(fs::read_to_string(known.path()).unwrap().lines().count(), 2);
    }
}
