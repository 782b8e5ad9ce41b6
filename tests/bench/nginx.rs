//! nginx, as an application and beside the gateway.

use anyhow::Result;

use super::process::{Server, command, file, free_address};
use super::scene::Scene;

/// What differs between servers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Nginx<'a> {
    /// The core it runs on; all of them if none is given.
    pub(crate) core: Option<usize>,
    /// Directives of `http`; its paths are relative to a directory of the server's own.
    pub(crate) http: &'a str,
    /// Behind the address in `listen`, and after it.
    pub(crate) after_listen: &'a str,
    /// Directives of the only `location`.
    pub(crate) location: &'a str,
}

impl Nginx<'_> {
    /// Starts one worker; everything is kept alive, and metadata of files are kept.
    pub(crate) async fn start(self, scene: &Scene) -> Result<Server> {
        let address = free_address()?;
        let name = format!("nginx-{}", address.port());
        let place = scene.directory.path().join(&name);
        std::fs::create_dir(&place)?;
        let user = match nix::unistd::geteuid().is_root() {
            true => "user root;",
            false => "",
        };
        let Self {
            http,
            after_listen,
            location,
            ..
        } = self;
        let configuration = format!(
            "daemon off;\n{user}\nworker_processes 1;\npid {place}/pid;\nerror_log stderr crit;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n\
             keepalive_requests 1000000000;\nsendfile on;\ntcp_nopush on;\n\
             open_file_cache max=1000 inactive=1h;\nopen_file_cache_valid 1h;\n\
             client_body_temp_path {place}/body;\nproxy_temp_path {place}/proxy;\n\
             fastcgi_temp_path {place}/fastcgi;\nuwsgi_temp_path {place}/uwsgi;\n\
             scgi_temp_path {place}/scgi;\n\
             {http}\n\
             server {{\nlisten {address}{after_listen};\nlocation / {{\n{location}\n}}\n}}\n}}\n",
            place = place.display(),
        );
        let file = file(&scene.directory, &format!("{name}.conf"), &configuration)?;
        let mut nginx = command("/usr/sbin/nginx", self.core);
        nginx.arg("-c").arg(file).arg("-p").arg(&place);
        nginx.stderr(std::process::Stdio::inherit());
        Server::start(nginx, address).await
    }
}
