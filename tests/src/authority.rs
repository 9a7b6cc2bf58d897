//! Certificates of a test's own, for servers with `tls=FOLDER` and for those who connect to them.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// One who signs certificates. Files go when this goes.
#[derive(Debug)]
pub struct Authority {
    dir: tempfile::TempDir,
    own: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, that nobody trusts yet.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap().pem();
        Self {
            dir: tempfile::tempdir().unwrap(),
            own,
            issuer: Issuer::new(params, key),
        }
    }

    /// A folder with `cert.pem` for these names of hosts, its `key.pem`, and our own `ca.pem`.
    pub fn sign(&self, folder: &str, hosts: &[&str]) -> PathBuf {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, folder);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let folder = self.dir.path().join(folder);
        fs::create_dir(&folder).unwrap();
        for (name, text) in [
            ("ca.pem", &self.own),
            ("cert.pem", &signed.pem()),
            ("key.pem", &key.serialize_pem()),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        folder
    }
}
