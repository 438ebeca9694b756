//! Publishes an event, and receives it.

use notification_client::{Client, Error, Item, StreamOptions};

pub(crate) async fn receive(server: &str) -> Result<String, Error> {
    let client = Client::new(server)?;
    client
        .notify("Backup done")
        .topic("ops/backups")
        .send()
        .await?;
    let options = StreamOptions::default().topic("ops/**").since("all");
    let mut stream = client.stream(options);
    loop {
        let item = stream.next().await?;
        if let Item::Event(_) = item {
            return Ok(item.text("message").to_owned());
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1);
    let server = server.as_deref().unwrap_or("http://127.0.0.1:8005");
    println!("{}", receive(server).await?);
    Ok(())
}
