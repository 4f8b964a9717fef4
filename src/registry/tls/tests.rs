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

/// An authority, which signs what the tests want.
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
    TlsOptions { roots, ca_files: Vec::new(), certs_directories: Vec::new(), verify: true }
}

/// Speaks TLS in memory until both sides are content, or the client knows why not.
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
            // What the server objects to, it says to the client.
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
    refusal(&shake_hands(options, server).unwrap_err()).unwrap()
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
fn a_server_is_refused_for_a_reason() {
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
fn anyone_is_trusted_where_nothing_is_verified() {
    let authority = Authority::new("known");
    let options = TlsOptions { verify: false, ..trusting(&[]) };
    let expired = authority.sign(|p| p.not_after = date_time_ymd(2000, 1, 1));
    shake_hands(&options, server(&expired, None)).unwrap();
}

#[test]
fn a_client_certificate_is_shown_where_a_registry_wants_one() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let directory = tempfile::tempdir().unwrap();
    let options = TlsOptions { certs_directories: vec![directory.path().to_owned()], ..trusting(&[&servers]) };
    let wanting = || server(&servers.sign(|_| {}), Some(&clients));
    assert_eq!(refused(&options, wanting()), "it wants a client certificate");
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
fn without_any_authority_there_is_no_https() {
    let error = client_config("registry.example", &trusting(&[])).unwrap_err();
    let want = "registry.example: the registry cannot be asked by HTTPS: this machine has no CA certificates";
    assert_eq!(error.to_string(), want);
    assert_eq!(error.fault().exit_code(), 6);
    assert!(client_config("registry.example", &TlsOptions { verify: false, ..trusting(&[]) }).is_ok());
}

#[test]
fn a_file_that_is_no_certificate_is_named_and_not_shown() {
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
        ("x".repeat((1 << 20) + 1), "has more than 1048576 bytes, too many for certificates"),
    ];
    for (content, want) in table {
        let ca_files = vec![write(&directory, "ca.pem", &content)];
        let options = TlsOptions { ca_files, ..trusting(&[]) };
        assert_eq!(problem(&options, &directory), format!("DIR/ca.pem {want}"));
    }
    let options = TlsOptions { ca_files: vec![directory.path().join("no\n.pem")], ..trusting(&[]) };
    assert_eq!(problem(&options, &directory), r"DIR/no\x0a.pem cannot be read");
}

#[test]
fn a_client_certificate_that_cannot_be_used_is_named() {
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
    for (files, want) in table {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            write(&directory, &format!("registry.example/{name}"), content);
        }
        let certs_directories = vec![directory.path().to_owned()];
        let options = TlsOptions { certs_directories, ..trusting(&[&authority]) };
        assert_eq!(problem(&options, &directory), format!("DIR/registry.example/{want}"));
    }
}

#[test]
fn a_directory_serves_its_own_host_and_port() {
    let known = Authority::new("known");
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "registry.example:5000/ca.crt", &known.pem);
    let options = TlsOptions { certs_directories: vec![directory.path().to_owned()], ..trusting(&[]) };
    assert!(client_config("registry.example:5000", &options).is_ok());
    for host in ["registry.example", "../registry.example:5000", "..", ""] {
        assert!(client_config(host, &options).is_err(), "{host}");
    }
}

#[test]
fn a_refusal_is_found_below_other_errors() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);
    let cause = || rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked);
    let wrapped = Outer(io::Error::other(Outer(io::Error::other(cause()))));
    assert_eq!(refusal(&wrapped).unwrap(), "its certificate is revoked");
    assert_eq!(refusal(&Outer(io::Error::from(io::ErrorKind::TimedOut))), None);
    let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
    assert_eq!(refusal(&plain).unwrap(), "it does not answer in TLS");
    assert_eq!(refusal(&rustls::Error::DecryptError), None);
}

#[test]
fn names_in_a_certificate_are_escaped() {
    let expected = ServerName::try_from("registry.example").unwrap().to_owned();
    let presented = vec!["DnsName(\"a\u{1b}[31m\")".to_owned(), "IpAddress(10.0.0.1)".to_owned()];
    let problem = rustls::CertificateError::NotValidForNameContext { expected, presented };
    let text = refusal(&rustls::Error::InvalidCertificate(problem)).unwrap();
    assert_eq!(text, r"its certificate is for a\x1b[31m, 10.0.0.1");
}
