//! Who is who: a certificate authority made for one run, a certificate and a kubeconfig per component.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::instance::{Instance, NODES, node_name};
use super::paths::Paths;

/// Makes the keys, certificates and kubeconfigs of an instance.
pub fn create(instance: Instance, paths: &Paths) -> Result<()> {
    let api = [instance.control_plane_ip().into(), instance.api_service_ip().into()];
    let office = Office::open(paths, instance.bridge(), instance.api_url(), &api)?;
    office.issue("scheduler", "system:kube-scheduler", None, &[], &[])?;
    office.issue("proxy", "system:kube-proxy", None, &[], &[])?;
    for node in 1..=NODES {
        let name = node_name(node);
        let ips = [instance.node_ip(node).into()];
        office.issue(&name, &format!("system:node:{name}"), Some("system:nodes"), &[&name], &ips)?;
    }
    Ok(())
}

/// Makes those of an API server and its controllers without nodes, on one address.
pub fn create_without_nodes(paths: &Paths, name: &str, ip: IpAddr) -> Result<()> {
    Office::open(paths, name.to_owned(), format!("https://{ip}:6443"), &[ip]).map(drop)
}

/// Where certificates are issued.
struct Office<'a> {
    paths: &'a Paths,
    cluster: String,
    url: String,
    authority: Issuer<'static, KeyPair>,
}

impl<'a> Office<'a> {
    /// With what every cluster needs: the API server, its controllers and the administrator.
    fn open(paths: &'a Paths, cluster: String, url: String, api: &[IpAddr]) -> Result<Self> {
        let service_accounts = KeyPair::generate()?;
        write(&paths.pki("sa.key"), &service_accounts.serialize_pem())?;
        write(&paths.pki("sa.pub"), &service_accounts.public_key_pem())?;
        let office = Self { paths, cluster, url, authority: authority(paths)? };
        let service =
            ["kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
        office.issue("apiserver", "kube-apiserver", None, &service, api)?;
        office.issue("admin", "admin", Some("system:masters"), &[], &[])?;
        office.issue("controller-manager", "system:kube-controller-manager", None, &[], &[])?;
        Ok(office)
    }

    fn issue(
        &self,
        component: &str,
        user: &str,
        group: Option<&str>,
        names: &[&str],
        ips: &[IpAddr],
    ) -> Result<()> {
        let mut params = params(user, group);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        for name in names {
            params.subject_alt_names.push(SanType::DnsName((*name).try_into()?));
        }
        params.subject_alt_names.extend(ips.iter().map(|ip| SanType::IpAddress(*ip)));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.authority)?;
        write(&self.paths.pki(&format!("{component}.key")), &key.serialize_pem())?;
        write(&self.paths.pki(&format!("{component}.crt")), &certificate.pem())?;
        write(&self.paths.kubeconfig_of(component), &self.kubeconfig(component))
    }

    fn kubeconfig(&self, component: &str) -> String {
        // JSON is YAML; paths need its quoting.
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.cluster, "cluster": {
                "server": self.url, "certificate-authority": self.paths.pki("ca.crt"),
            }}],
            "users": [{"name": component, "user": {
                "client-certificate": self.paths.pki(&format!("{component}.crt")),
                "client-key": self.paths.pki(&format!("{component}.key")),
            }}],
            "contexts": [{"name": self.cluster, "context": {"cluster": self.cluster, "user": component}}],
            "current-context": self.cluster,
        });
        format!("{config:#}\n")
    }
}

fn authority(paths: &Paths) -> Result<Issuer<'static, KeyPair>> {
    let mut params = params("conuredb local authority", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    // The authority's own key stays in memory: nobody issues anything later.
    write(&paths.pki("ca.crt"), &params.self_signed(&key)?.pem())?;
    Ok(Issuer::new(params, key))
}

fn params(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file in a folder")?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::write(path, text).with_context(|| path.display().to_string())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
