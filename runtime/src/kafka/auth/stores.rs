//! Trust stores and key stores as Java names them, for librdkafka, which reads PEM and PKCS#12.

use std::fs;

use connector_core::{ConfigMap, ConnectError, Result};
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::x509::X509;

/// What a file is, whatever its name: users copy `truststore.jks` files that are PKCS#12 inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Pem,
    Pkcs12,
    /// Java's own.
    Jks,
}

fn form(bytes: &[u8]) -> Option<Form> {
    match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] => Some(Form::Jks),
        [0x30, ..] => Some(Form::Pkcs12),
        _ if bytes.windows(10).any(|w| w == b"-----BEGIN") => Some(Form::Pem),
        _ => None,
    }
}

/// Takes Java's `ssl.` store keys out of `config` and puts librdkafka's in. What can be wrong with a store is said here,
/// with the key that names it.
pub fn translate(config: &mut ConfigMap) -> Result<()> {
    truststore(config)?;
    keystore(config)
}

fn truststore(config: &mut ConfigMap) -> Result<()> {
    config.remove("ssl.truststore.type");
    let password = config.remove("ssl.truststore.password").unwrap_or_default();
    if let Some(pem) = config.remove("ssl.truststore.certificates") {
        config.insert("ssl.ca.pem".to_owned(), pem);
    }
    let Some(path) = config.remove("ssl.truststore.location") else { return Ok(()) };
    let bytes = read("ssl.truststore.location", &path)?;
    let wrong = |what: String, hint: &str| {
        ConnectError::user("kafka.truststore", format!("ssl.truststore.location `{path}` {what}")).hint(hint)
    };
    let authorities = match form(&bytes) {
        Some(Form::Pem) => {
            config.insert("ssl.ca.location".to_owned(), path);
            return Ok(());
        }
        Some(Form::Pkcs12) => {
            let store = open(&bytes, &password).map_err(|_| {
                wrong("does not open with ssl.truststore.password".to_owned(), "check the password")
            })?;
            store.ca.into_iter().flatten().chain(store.cert).collect()
        }
        Some(Form::Jks) => jks_certificates(&bytes)
            .ok_or_else(|| wrong("is a damaged Java key store".to_owned(), "copy it again"))?,
        None => {
            return Err(wrong(
                "is neither PEM, PKCS#12 nor a Java key store".to_owned(),
                "name a file with the certificates of the authorities that signed the brokers'",
            ));
        }
    };
    if authorities.is_empty() {
        return Err(wrong(
            "holds no certificate".to_owned(),
            "import the authority: keytool -importcert -file ca.pem -keystore truststore.p12 -storetype PKCS12",
        ));
    }
    let pems = authorities.iter().filter_map(|certificate| certificate.to_pem().ok()).flatten().collect();
    config.insert("ssl.ca.pem".to_owned(), String::from_utf8(pems).unwrap_or_default());
    Ok(())
}

fn keystore(config: &mut ConfigMap) -> Result<()> {
    config.remove("ssl.keystore.type");
    for (java, native) in
        [("ssl.keystore.key", "ssl.key.pem"), ("ssl.keystore.certificate.chain", "ssl.certificate.pem")]
    {
        if let Some(pem) = config.remove(java) {
            config.insert(native.to_owned(), pem);
        }
    }
    if let Some(path) = config.get("ssl.keystore.location").cloned() {
        let bytes = read("ssl.keystore.location", &path)?;
        let wrong = |what: &str, hint: &str| {
            ConnectError::user("kafka.keystore", format!("ssl.keystore.location `{path}` {what}")).hint(hint)
        };
        match form(&bytes) {
            Some(Form::Pem) => {
                config.remove("ssl.keystore.location");
                config.remove("ssl.keystore.password");
                config.insert("ssl.certificate.location".to_owned(), path.clone());
                config.insert("ssl.key.location".to_owned(), path);
            }
            Some(Form::Pkcs12) => {
                let password = config.get("ssl.keystore.password").map(String::as_str).unwrap_or_default();
                open(&bytes, password)
                    .map_err(|_| wrong("does not open with ssl.keystore.password", "check the password"))?;
                // The key has the store's password, and librdkafka would take this one for a key in a file of its own.
                config.remove("ssl.key.password");
            }
            Some(Form::Jks) => {
                return Err(wrong(
                    "is a Java key store (JKS), whose keys are not read",
                    "convert it: keytool -importkeystore -srckeystore old.jks -destkeystore new.p12 -deststoretype PKCS12",
                ));
            }
            None => return Err(wrong("is neither PEM, PKCS#12 nor a Java key store", "name a PKCS#12 file")),
        }
    }
    private_key(config)
}

/// OpenSSL would ask for a passphrase on the terminal.
fn private_key(config: &ConfigMap) -> Result<()> {
    let (key, pem) = match (config.get("ssl.key.location"), config.get("ssl.key.pem")) {
        (Some(path), _) => ("ssl.key.location", read("ssl.key.location", path)?),
        (None, Some(pem)) => ("ssl.key.pem", pem.clone().into_bytes()),
        (None, None) => return Ok(()),
    };
    let wrong = |what: &str, hint: &str| {
        ConnectError::user("kafka.private_key", format!("the private key of {key} {what}")).hint(hint)
    };
    let is_locked = String::from_utf8_lossy(&pem).contains("ENCRYPTED");
    let password = config.get("ssl.key.password");
    if is_locked && password.is_none() {
        return Err(wrong(
            "is locked by a passphrase, and ssl.key.password is not set",
            "write ssl.key.password: ${file:/run/secrets/kafka.properties:key.password}, or another way to a secret",
        ));
    }
    let opened =
        PKey::private_key_from_pem_passphrase(&pem, password.map(String::as_bytes).unwrap_or_default());
    match opened {
        Ok(_) => Ok(()),
        Err(_) if is_locked => Err(wrong("does not open with ssl.key.password", "check the passphrase")),
        Err(_) => Err(wrong("cannot be read", "name a PEM file with `-----BEGIN PRIVATE KEY-----`")),
    }
}

fn read(key: &str, path: &str) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        ConnectError::user("kafka.store_file", format!("{key} `{path}` cannot be read: {}", error.kind()))
            .hint("check the path and who may read it; the file must be there before the worker starts")
    })
}

fn open(
    bytes: &[u8],
    password: &str,
) -> std::result::Result<openssl::pkcs12::ParsedPkcs12_2, openssl::error::ErrorStack> {
    Pkcs12::from_der(bytes)?.parse2(password)
}

/// The trusted certificates of a Java key store, which are not encrypted.
///
/// Layout (`sun.security.provider.JavaKeyStore`, big-endian): magic, version, count; then entries of tag (1 private key,
/// 2 certificate), alias, time in ms (8 bytes); a certificate is its type and its DER. Strings have a length of 2 bytes,
/// everything else one of 4.
fn jks_certificates(bytes: &[u8]) -> Option<Vec<X509>> {
    let mut rest = bytes.get(4..)?;
    let version = number(&mut rest, 4)?;
    let count = number(&mut rest, 4)?;
    let mut certificates = Vec::new();
    for _ in 0..count {
        let tag = number(&mut rest, 4)?;
        text(&mut rest)?;
        take(&mut rest, 8)?;
        match tag {
            1 => {
                block(&mut rest)?;
                for _ in 0..number(&mut rest, 4)? {
                    certificate(&mut rest, version)?;
                }
            }
            2 => certificates.push(X509::from_der(certificate(&mut rest, version)?).ok()?),
            _ => return None,
        }
    }
    Some(certificates)
}

fn certificate<'a>(rest: &mut &'a [u8], version: usize) -> Option<&'a [u8]> {
    if version > 1 {
        text(rest)?;
    }
    block(rest)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8], length: usize) -> Option<usize> {
    Some(take(rest, length)?.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)))
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest, 2)?;
    take(rest, length)
}

fn block<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest, 4)?;
    take(rest, length)
}

#[cfg(test)]
mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::Private;
    use openssl::stack::Stack;
    use openssl::symm::Cipher;
    use proptest::prelude::*;

    use super::*;

    fn key() -> PKey<Private> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    }

    fn authority(key: &PKey<Private>) -> X509 {
        let mut builder = X509::builder().unwrap();
        builder.set_pubkey(key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.sign(key, MessageDigest::sha256()).unwrap();
        builder.build()
    }

    /// A Java key store with one trusted certificate and one private key, laid out by hand.
    fn jks(certificate: &X509) -> Vec<u8> {
        let der = certificate.to_der().unwrap();
        let block = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
        let text = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
        [
            [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 2].to_vec(),
            [0, 0, 0, 1].to_vec(),
            text(b"mine"),
            [0; 8].to_vec(),
            block(b"a locked key"),
            [0, 0, 0, 1].to_vec(),
            text(b"X.509"),
            block(&der),
            [0, 0, 0, 2].to_vec(),
            text(b"authority"),
            [0; 8].to_vec(),
            text(b"X.509"),
            block(&der),
            [0; 20].to_vec(), // a digest with the password, which is not checked
        ]
        .concat()
    }

    /// Translates one file under `key`, with more keys.
    fn translated(key: &str, bytes: &[u8], more: &[(&str, &str)]) -> Result<ConfigMap> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, bytes).unwrap();
        let mut config: ConfigMap = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        config.insert(key.to_owned(), file.path().to_str().unwrap().to_owned());
        translate(&mut config).map(|()| config)
    }

    #[test]
    fn a_trust_store_of_each_form_becomes_the_same_authority() {
        let key = key();
        let ca = authority(&key);
        let mut stack = Stack::new().unwrap();
        stack.push(ca.clone()).unwrap();
        let p12 = Pkcs12::builder().ca(stack).build2("s3cret").unwrap().to_der().unwrap();
        let pem = String::from_utf8(ca.to_pem().unwrap()).unwrap();
        for (bytes, password) in [(p12.clone(), "s3cret"), (jks(&ca), "any")] {
            let config =
                translated("ssl.truststore.location", &bytes, &[("ssl.truststore.password", password)])
                    .unwrap();
            assert_eq!(config, [("ssl.ca.pem".to_owned(), pem.clone())].into());
        }
        let config =
            translated("ssl.truststore.location", pem.as_bytes(), &[("ssl.truststore.type", "PEM")]).unwrap();
        assert_eq!(config.keys().collect::<Vec<_>>(), ["ssl.ca.location"]);
        let error = translated("ssl.truststore.location", &p12, &[("ssl.truststore.password", "hunter2")])
            .unwrap_err();
        assert_eq!(error.code, "kafka.truststore");
        assert!(
            error.message.contains("ssl.truststore.password") && !error.to_string().contains("hunter2"),
            "{error}"
        );
        assert!(translated("ssl.truststore.location", b"nothing of the kind", &[]).is_err());
        assert!(translated("ssl.truststore.location", &jks(&ca)[..60], &[]).is_err());
    }

    #[test]
    fn a_key_store_is_pem_or_pkcs12_and_a_java_one_is_told_how_to_be_converted() {
        let key = key();
        let ca = authority(&key);
        let pem = [key.private_key_to_pem_pkcs8().unwrap(), ca.to_pem().unwrap()].concat();
        let config = translated("ssl.keystore.location", &pem, &[]).unwrap();
        assert_eq!(config.keys().collect::<Vec<_>>(), ["ssl.certificate.location", "ssl.key.location"]);
        let p12 = Pkcs12::builder().pkey(&key).cert(&ca).build2("s3cret").unwrap().to_der().unwrap();
        let with =
            |password| translated("ssl.keystore.location", &p12, &[("ssl.keystore.password", password)]);
        assert!(with("s3cret").unwrap().contains_key("ssl.keystore.location"));
        assert!(with("hunter2").unwrap_err().message.contains("does not open with ssl.keystore.password"));
        let error = translated("ssl.keystore.location", &jks(&ca), &[]).unwrap_err();
        assert!(error.hint.contains("keytool -importkeystore"), "{error}");
    }

    #[test]
    fn a_locked_key_without_its_passphrase_is_named() {
        let locked = key().private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"s3cret").unwrap();
        let with = |more: &[(&str, &str)]| translated("ssl.key.location", &locked, more);
        let error = with(&[]).unwrap_err();
        assert_eq!(error.code, "kafka.private_key");
        assert!(error.message.contains("ssl.key.password is not set"), "{error}");
        assert!(with(&[("ssl.key.password", "hunter2")]).unwrap_err().message.contains("does not open"));
        assert!(with(&[("ssl.key.password", "s3cret")]).is_ok());
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_its_key() {
        let mut config: ConfigMap =
            [("ssl.truststore.location".to_owned(), "/nowhere/t.jks".to_owned())].into();
        let error = translate(&mut config).unwrap_err();
        assert_eq!(error.code, "kafka.store_file");
        assert!(error.message.contains("ssl.truststore.location `/nowhere/t.jks`"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..400) {
            let magic = [&[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2], bytes.as_slice()].concat();
            let _ = jks_certificates(&magic[..cut.min(magic.len())]);
        }
    }
}
