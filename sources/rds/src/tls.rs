//! How a connection is encrypted and what is checked of the server's certificate.

use std::sync::Arc;

use connector_core::{ConnectError, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::address::Address;

/// In the order of strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsMode {
    Disable,
    /// TLS if the server has it; the certificate is not checked.
    Prefer,
    /// TLS or nothing; the certificate is not checked.
    Require,
    /// The certificate must come from a trusted authority.
    VerifyCa,
    /// And it must be for this host.
    VerifyFull,
}

impl TlsMode {
    /// As libpq, pgjdbc, Connector/J and MariaDB's driver spell it.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().replace('_', "-").as_str() {
            "disable" | "disabled" => Self::Disable,
            "allow" | "prefer" | "preferred" => Self::Prefer,
            "require" | "required" | "trust" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" | "verify-identity" => Self::VerifyFull,
            _ => return None,
        })
    }
}

/// One crypto provider for the process: rustls refuses to choose when two are linked in.
pub fn install_provider() {
    // An error means that one is installed already, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn wrong_file(path: &std::path::Path, what: &str, error: impl std::fmt::Display) -> ConnectError {
    ConnectError::user("rds.tls_file", format!("{}: cannot read {what}: {error}", path.display()))
        .hint("name a readable PEM file in connection.url")
}

/// The certificates to trust.
pub fn trusted(address: &Address) -> Result<Vec<CertificateDer<'static>>> {
    let Some(path) = &address.root_cert else {
        let mut store = RootCertStore::empty();
        // A system store often holds one that cannot be parsed; the others still count.
        let mut certificates = rustls_native_certs::load_native_certs().certs;
        certificates.retain(|c| store.add(c.clone()).is_ok());
        return Ok(certificates);
    };
    let wrong = |e: rustls::pki_types::pem::Error| wrong_file(path, "certificates", e);
    let all =
        CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if all.is_empty() { Err(wrong_file(path, "certificates", "none in it")) } else { Ok(all) }
}

/// rustls's settings for `address`.
pub fn client_config(address: &Address) -> Result<ClientConfig> {
    install_provider();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let failed = |e: &dyn std::fmt::Display| {
        ConnectError::user("rds.tls", format!("TLS cannot be set up: {e}"))
            .hint("check sslrootcert, sslcert and sslkey")
    };
    let mut store = RootCertStore::empty();
    if address.tls >= TlsMode::VerifyCa {
        store.add_parsable_certificates(trusted(address)?);
    }
    let chain = if address.tls >= TlsMode::VerifyCa {
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider));
        Some(builder.build().map_err(|e| failed(&e))?)
    } else {
        None
    };
    let verifier =
        Verifier { chain, name: address.tls == TlsMode::VerifyFull, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some((cert, key)) = &address.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|e| wrong_file(cert, "the certificate", e))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong_file(key, "the key", e))?;
    builder.with_client_auth_cert(chain, key).map_err(|e| failed(&e))
}

/// Checks what the mode asks for and no more, as libpq does.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
