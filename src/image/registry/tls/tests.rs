use std::fs;
use std::io;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConnection, ServerConfig, ServerConnection};
use tempfile::TempDir;

use super::*;

/// An authority that signs the certificates of the tests.
struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Pair {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { pem, der, issuer: Issuer::new(parameters, key) }
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut parameters = CertificateParams::new(vec!["registry.example".to_owned()]).unwrap();
        change(&mut parameters);
        let key = KeyPair::generate().unwrap();
        Pair { certificate: parameters.signed_by(&key, &self.issuer).unwrap(), key }
    }

    fn server(&self) -> ServerConfig {
        server(&self.sign(|_| {}), None)
    }
}

fn server(pair: &Pair, clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = match clients {
        None => builder.unwrap().with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.unwrap().with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::try_from(pair.key.serialize_der()).unwrap();
    builder.with_single_cert(vec![pair.certificate.der().clone()], key).unwrap()
}

fn trusting(roots: &[&Authority]) -> TlsOptions {
    let roots = roots.iter().map(|authority| authority.der.clone()).collect();
    TlsOptions { roots, verify: true, ..TlsOptions::unused() }
}

/// Performs a TLS handshake in memory until both sides are done, or the client fails.
fn shake_hands(options: &TlsOptions, server: ServerConfig) -> std::result::Result<(), rustls::Error> {
    let config = client_config("registry.example", options).unwrap();
    let name = ServerName::try_from("registry.example").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut read = &wire[..];
        while !read.is_empty() {
            server.read_tls(&mut read).unwrap();
            // The client receives the server's objection as an alert.
            let _ = server.process_new_packets();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut read = &wire[..];
        while !read.is_empty() {
            client.read_tls(&mut read).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

fn refused(options: &TlsOptions, server: ServerConfig) -> String {
    untrusted(&shake_hands(options, server).unwrap_err()).unwrap()
}

fn problem(options: &TlsOptions, directory: &TempDir) -> String {
    let error = client_config("registry.example", options).unwrap_err();
    assert_eq!(error.fault().exit_code(), 6, "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    error.to_string().replace(directory.path().to_str().unwrap(), "DIR")
}

fn write(directory: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_server_of_a_trusted_authority_is_trusted() {
    let (known, other) = (Authority::new("known"), Authority::new("other"));
    let directory = tempfile::tempdir().unwrap();
    shake_hands(&trusting(&[&known]), known.server()).unwrap();
    let bundle = write(&directory, "bundle.pem", &format!("# two\n{}{}", other.pem, known.pem));
    shake_hands(&TlsOptions { ca_files: vec![bundle], ..trusting(&[]) }, known.server()).unwrap();
    write(&directory, "certs.d/registry.example/ca.crt", &known.pem);
    let certs_directories = vec![directory.path().join("missing"), directory.path().join("certs.d")];
    shake_hands(&TlsOptions { certs_directories, ..trusting(&[&other]) }, known.server()).unwrap();
}

#[test]
fn a_refused_server_has_a_reason() {
    let (known, other) = (Authority::new("known"), Authority::new("other"));
    let options = trusting(&[&known]);
    let signed = |change: fn(&mut CertificateParams)| refused(&options, server(&known.sign(change), None));
    assert_eq!(refused(&options, other.server()), "its certificate is from an unknown issuer");
    assert_eq!(signed(|p| p.not_after = date_time_ymd(2000, 1, 1)), "its certificate has expired");
    assert_eq!(signed(|p| p.not_before = date_time_ymd(4000, 1, 1)), "its certificate is not valid yet");
    let purpose = |p: &mut CertificateParams| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(signed(purpose), "its certificate is not for servers");
    let named = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let pair = known.sign(|p| p.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names);
        refused(&options, server(&pair, None))
    };
    assert_eq!(named(&["a.example"]), "its certificate is for a.example");
    let four = ["a.example", "b.example", "c.example", "d.example"];
    assert_eq!(named(&four), "its certificate is for a.example, b.example, c.example, …");
    assert_eq!(named(&[]), "its certificate is for no name");
}

#[test]
fn every_server_is_trusted_without_verification() {
    let authority = Authority::new("known");
    let options = TlsOptions { verify: false, ..trusting(&[]) };
    let expired = authority.sign(|p| p.not_after = date_time_ymd(2000, 1, 1));
    shake_hands(&options, server(&expired, None)).unwrap();
}

#[test]
fn a_client_certificate_is_sent_on_request() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let directory = tempfile::tempdir().unwrap();
    let options = TlsOptions { certs_directories: vec![directory.path().to_owned()], ..trusting(&[&servers]) };
    let wanting = || server(&servers.sign(|_| {}), Some(&clients));
    assert_eq!(refused(&options, wanting()), "it requires a client certificate");
    let show = |pair: &Pair| {
        write(&directory, "registry.example/me.cert", &pair.certificate.pem());
        write(&directory, "registry.example/me.key", &pair.key.serialize_pem());
    };
    show(&clients.sign(|_| {}));
    shake_hands(&options, wanting()).unwrap();
    show(&servers.sign(|_| {}));
    assert_eq!(refused(&options, wanting()), "it refuses the client certificate");
}

#[test]
fn https_requires_a_certificate_authority() {
    let error = client_config("registry.example", &trusting(&[])).unwrap_err();
    let expected = "registry.example: the registry cannot be reached by HTTPS: this machine has no CA certificates";
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.fault().exit_code(), 6);
    assert!(client_config("registry.example", &TlsOptions { verify: false, ..trusting(&[]) }).is_ok());
}

#[test]
fn a_malformed_certificate_file_is_named_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let begin = "-----BEGIN CERTIFICATE-----\n";
    let end = "-----END CERTIFICATE-----\n";
    let table = [
        (String::new(), "holds no certificate"),
        ("hunter2\n".into(), "holds no certificate"),
        (Authority::new("known").issuer.key().serialize_pem(), "holds no certificate"),
        (format!("{begin}hunter2"), "is not PEM"),
        (format!("-----BEGIN hunter2\n{begin}"), "is not PEM"),
        (format!("{begin}hunter2!\n{end}"), "is not PEM"),
        (format!("{begin}aHVudGVyMg==\n{end}"), "holds a certificate that cannot be read"),
        ("x".repeat((4 << 20) + 1), "has more than 4194304 bytes, too many for certificates"),
    ];
    for (content, expected) in table {
        let ca_files = vec![write(&directory, "ca.pem", &content)];
        let options = TlsOptions { ca_files, ..trusting(&[]) };
        assert_eq!(problem(&options, &directory), format!("DIR/ca.pem {expected}"));
    }
    let options = TlsOptions { ca_files: vec![directory.path().join("no\n.pem")], ..trusting(&[]) };
    assert_eq!(problem(&options, &directory), r"DIR/no\x0a.pem cannot be read");
}

#[test]
fn an_unusable_client_certificate_is_named() {
    let authority = Authority::new("known");
    let pair = || authority.sign(|_| {});
    let (good, other) = (pair(), pair());
    let (certificate, key) = (good.certificate.pem(), good.key.serialize_pem());
    let unpaired_certificate = "is a client certificate without its key: a file of the same name that ends in .key";
    let unpaired_key =
        "is the key of a client certificate that is not there: a file of the same name that ends in .cert";
    let mismatch = "is no certificate chain for the key beside it, or the key is of an unknown kind";
    let table = [
        (&[("a.cert", &certificate)][..], format!("a.cert {unpaired_certificate}")),
        (&[("a.key", &key)], format!("a.key {unpaired_key}")),
        (&[("a.cert", &certificate), ("a.key", &certificate)], "a.key holds no private key".into()),
        (&[("a.cert", &certificate), ("a.key", &other.key.serialize_pem())], format!("a.cert {mismatch}")),
        (&[("a.cert", &key), ("a.key", &key)], "a.cert holds no certificate".into()),
    ];
    for (files, expected) in table {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            write(&directory, &format!("registry.example/{name}"), content);
        }
        let certs_directories = vec![directory.path().to_owned()];
        let options = TlsOptions { certs_directories, ..trusting(&[&authority]) };
        assert_eq!(problem(&options, &directory), format!("DIR/registry.example/{expected}"));
    }
}

#[test]
fn a_certs_d_directory_applies_to_its_host_and_port() {
    let known = Authority::new("known");
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "registry.example:5000/ca.crt", &known.pem);
    let options = TlsOptions { certs_directories: vec![directory.path().to_owned()], ..trusting(&[]) };
    assert!(client_config("registry.example:5000", &options).is_ok());
    for host in ["registry.example", "../registry.example:5000", "..", ""] {
        assert!(client_config(host, &options).is_err(), "{host}");
    }
}

fn untrusted(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    match tls_error(error)? {
        TlsError::Untrusted(why) => Some(why),
        TlsError::NotTls => None,
    }
}

#[test]
fn a_tls_refusal_is_found_among_source_errors() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);
    let cause = || rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked);
    let wrapped = Outer(io::Error::other(Outer(io::Error::other(cause()))));
    assert_eq!(untrusted(&wrapped).unwrap(), "its certificate is revoked");
    assert_eq!(tls_error(&Outer(io::Error::from(io::ErrorKind::TimedOut))), None);
    let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
    assert_eq!(tls_error(&plain), Some(TlsError::NotTls));
    assert_eq!(tls_error(&rustls::Error::DecryptError), None);
}

#[test]
fn names_in_a_certificate_are_escaped() {
    let expected = ServerName::try_from("registry.example").unwrap().to_owned();
    let presented = vec!["DnsName(\"a\u{1b}[31m\")".to_owned(), "IpAddress(10.0.0.1)".to_owned()];
    let problem = rustls::CertificateError::NotValidForNameContext { expected, presented };
    let text = untrusted(&rustls::Error::InvalidCertificate(problem)).unwrap();
    assert_eq!(text, r"its certificate is for a\x1b[31m, 10.0.0.1");
}

/// Returns a certificate that signs itself, as `openssl req -x509` makes one, after changes.
fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let mut parameters = CertificateParams::new(vec!["registry.example".to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut parameters);
    let key = KeyPair::generate().unwrap();
    Pair { certificate: parameters.self_signed(&key).unwrap(), key }
}

/// Returns each way to name a certificate.
fn naming(directory: &TempDir, pem: &str) -> [TlsOptions; 4] {
    let file = write(directory, "self.pem", pem);
    write(directory, "certs.d/registry.example/ca.crt", pem);
    let options = || TlsOptions { verify: true, ..TlsOptions::unused() };
    let named = |file, directories: &[PathBuf]| NamedCertificates::read(file, directories);
    [
        TlsOptions { ca_files: vec![file.clone()], ..options() },
        TlsOptions { certs_directories: vec![directory.path().join("certs.d")], ..options() },
        TlsOptions { named: named(Some(&file), &[]), ..options() },
        TlsOptions { named: named(None, &[directory.path().to_owned()]), ..options() },
    ]
}

#[test]
fn a_pinned_server_certificate_is_trusted() {
    let authority = Authority::new("unknown");
    let makes: [&dyn Fn() -> Pair; 3] =
        [&|| self_signed(|_| {}), &|| self_signed(|p| p.is_ca = IsCa::NoCa), &|| authority.sign(|_| {})];
    for make in makes {
        let directory = tempfile::tempdir().unwrap();
        let (own, other) = (make(), make());
        for options in naming(&directory, &own.certificate.pem()) {
            shake_hands(&options, server(&own, None)).unwrap();
            // Another key under the same name is someone else.
            assert!(shake_hands(&options, server(&other, None)).is_err());
        }
    }
}

#[test]
fn a_pinned_server_certificate_needs_its_name_and_validity() {
    let refused_by_all = |pair: &Pair| {
        let directory = tempfile::tempdir().unwrap();
        let refusals = naming(&directory, &pair.certificate.pem()).map(|options| refused(&options, server(pair, None)));
        assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:?}");
        refusals[0].clone()
    };
    let named = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        self_signed(|p| p.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names)
    };
    assert_eq!(refused_by_all(&named(&["a.example"])), "its certificate is for a.example");
    assert_eq!(refused_by_all(&named(&[])), "its certificate is for no name");
    let late = self_signed(|p| p.not_after = date_time_ymd(2000, 1, 1));
    assert_eq!(refused_by_all(&late), "its certificate has expired");
    let early = self_signed(|p| p.not_before = date_time_ymd(4000, 1, 1));
    assert_eq!(refused_by_all(&early), "its certificate is not valid yet");
    // A certificate of the system's is an authority's.
    let own = self_signed(|_| {});
    let system = TlsOptions { roots: vec![own.certificate.der().clone()], ..trusting(&[]) };
    assert_eq!(refused(&system, server(&own, None)), "its certificate is that of an authority, not of a server");
    let other = trusting(&[&Authority::new("other")]);
    assert_eq!(refused(&other, server(&own, None)), "its certificate is that of an authority, not of a server");
}

#[test]
fn named_files_are_limited_and_their_faults_reported() {
    let directory = tempfile::tempdir().unwrap();
    let good = write(&directory, "certs/a.pem", &Authority::new("a").pem);
    write(&directory, "certs/README", "no certificate");
    std::os::unix::fs::symlink("nowhere", directory.path().join("certs/dangling")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, directory.path().join("certs/fifo"), rustix::fs::Mode::RUSR).unwrap();
    let read = |file: &Path| NamedCertificates::read(Some(file), &[directory.path().join("certs")]);
    let faults = |named: &NamedCertificates| named.faults().map(|fault| fault.to_string()).collect::<Vec<_>>();
    assert_eq!((read(&good).certificates.len(), faults(&read(&good)).len()), (1, 0));
    let endless = read(Path::new("/dev/zero"));
    assert_eq!(endless.certificates.len(), 1);
    assert_eq!(faults(&endless), ["/dev/zero has more than 4194304 bytes, too many for certificates"]);
    let nothing = NamedCertificates::read(Some(Path::new("/dev/null")), &[]);
    let error = client_config("registry.example", &TlsOptions { named: nothing, ..trusting(&[]) }).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.fault().exit_code()), ("/dev/null holds no certificate", 6));
    let half = write(&directory, "half.pem", &format!("{}-----BEGIN CERTIFICATE-----\nx", Authority::new("b").pem));
    let half = NamedCertificates::read(Some(&half), &[]);
    assert_eq!((half.certificates.len(), faults(&half).len()), (1, 1));
}

#[test]
fn tls_errors_have_plain_messages() {
    use rustls::{CertRevocationListError, CertificateError, OtherError, PeerIncompatible, PeerMisbehaved};
    #[derive(Debug, thiserror::Error)]
    #[error("UnsupportedCertVersion")]
    struct Version;
    let table = [
        (
            rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure),
            "it ends TLS with an alert: handshake failure",
        ),
        (
            PeerIncompatible::NoCipherSuitesInCommon.into(),
            "it speaks no TLS that planish does: no cipher suites in common",
        ),
        (PeerMisbehaved::WrongGroupForKeyShare.into(), "it breaks the rules of TLS: wrong group for key share"),
        (
            rustls::InvalidMessage::MissingData("ServerName").into(),
            "it sends a TLS message that cannot be read: missing data",
        ),
        (CertRevocationListError::BadSignature.into(), "TLS fails: invalid cert revocation list"),
        (CertificateError::BadEncoding.into(), "its certificate cannot be read"),
        (CertificateError::InvalidOcspResponse.into(), "its certificate cannot be accepted: invalid ocsp response"),
        (
            CertificateError::Other(OtherError(Arc::new(Version))).into(),
            "its certificate cannot be accepted: unsupported cert version",
        ),
        (rustls::Error::DecryptError, "cannot decrypt peer's message"),
    ];
    for (error, expected) in table {
        assert_eq!(words(&error), expected);
    }
}
