use notification_server::Server;

/// What people see when the server starts: where it listens, where its data
/// lives, who may use it, and what to try.
pub(crate) fn banner(server: &Server) -> String {
    let url = server.url();
    let address = server.address();
    let durability = format!("{:?}", server.config().durability).to_lowercase();
    let data = match server.data_dir() {
        Some(dir) => format!("{} (durability {durability})", dir.display()),
        None => "in memory only; it ends with this process".to_owned(),
    };
    let access = match (server.is_open(), address.ip().is_loopback()) {
        (false, _) => "for those who say who they are, with a key or a token".to_owned(),
        (true, true) if server.config().insecure_no_auth => {
            "open to everyone on this machine, and to everyone for whom a proxy on it asks \
             (--insecure-no-auth)"
                .to_owned()
        }
        (true, true) => {
            "open to everyone on this machine, who is the principal `local` with every grant"
                .to_owned()
        }
        (true, false) => format!(
            "!!! EVERYONE WHO CAN REACH {address} CAN READ AND PUBLISH EVERYTHING \
             (--insecure-no-auth) !!!"
        ),
    };
    let (tls, curl) = match server.tls() {
        Some(tls) if tls.is_self_signed() => (
            format!(
                "\n  TLS        self-signed, made at this start; its SHA-256 is\n             {}",
                tls.fingerprint()
            ),
            "curl -k",
        ),
        Some(tls) => (format!("\n  TLS        {}", tls.fingerprint()), "curl"),
        None => (String::new(), "curl"),
    };
    let curl = match server.is_open() {
        true => curl.to_owned(),
        false => format!("{curl} -H \"Authorization: Bearer $KEY\""),
    };
    let streams = match server.max_streams() {
        Some(max) => {
            format!("at most {max}, as this process may have no more files open (ulimit -n)")
        }
        None => "as many as memory allows".to_owned(),
    };
    let webhooks = match server.config().webhooks.dev_allow_loopback {
        true => {
            "\n  Webhooks   !!! TO THIS MACHINE TOO, FOR ANYBODY WHO MAY CREATE ONE: FOR TRYING OUT ONLY \
             (--dev-allow-loopback-webhooks) !!!"
        }
        false => "",
    };
    format!(
        "notification-server {version}

  Listening  {url}/mcp{tls}
  Data       {data}
  Streams    {streams}
  Access     {access}{webhooks}

  Watch      {curl} -N -H \"Accept: text/event-stream\" {url}/mcp
  Publish    {curl} -d \"Backup done\" {url}/v1/topics/backups
",
        version = env!("CARGO_PKG_VERSION"),
    )
}
