//! stub
use std::path::PathBuf; use crate::Result;
use rustls::pki_types::CertificateDer;
#[derive(Debug,Clone,Default)] pub struct TlsOptions { pub roots: Vec<CertificateDer<'static>>, pub ca_files: Vec<PathBuf>, pub certs_directories: Vec<PathBuf>, pub verify: bool }
pub fn client_config(_h:&str,_o:&TlsOptions)->Result<rustls::ClientConfig>{ Ok(none()) }
pub fn none()->rustls::ClientConfig { rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider())).with_safe_default_protocol_versions().expect("x").with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth() }
pub fn refusal(_e:&(dyn std::error::Error+'static))->Option<String>{None}
