//! What becomes of somebody's streams when he is no longer vouched for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use notification_access::{Lapsed, NewKey, Presented, Principal};
use notification_event::Timestamp;
use notification_hub::{Delivery, End, Hub, HubConfig, Subscribe};
use serde_json::json;

use crate::harness::next;
use crate::hooked::{Hooked, Moment};

#[tokio::test]
async fn an_expired_stream_ends_although_the_log_is_busy() {
    let is_busy = Arc::new(AtomicBool::new(false));
    let log = Hooked::new({
        let is_busy = is_busy.clone();
        move |moment| {
            let is_busy = moment == Moment::BeforeAppend && is_busy.load(Ordering::SeqCst);
            async move {
                if is_busy {
                    std::future::pending().await
                }
            }
        }
    });
    let hub = Hub::open(Arc::new(log), HubConfig::default())
        .await
        .unwrap();
    let now = || Timestamp::from(SystemTime::now());
    let soon = now().after(Duration::from_secs(1)).to_string();
    let wanted = json!({"name": "a", "allow": ["subscribe:**"], "expires_at": soon});
    let wanted = NewKey::parse(wanted).unwrap();
    let operator = hub.caller(Arc::new(Principal::local()), None);
    let (_, text) = operator.create_key(wanted).await.unwrap();
    let key = hub
        .access()
        .authenticate(Presented::Bearer(&text), None, now());
    let caller = hub.caller(key.unwrap(), None);
    let mut stream = caller.subscribe(Subscribe::default()).await.unwrap();
    // That it was used is to be stored, which takes for ever from now on.
    is_busy.store(true, Ordering::SeqCst);
    loop {
        match next(&mut stream).await {
            Delivery::CredentialExpiring(_) => {}
            Delivery::Ended(End::Unauthorized(Lapsed::Expired)) => break,
            other => panic!("{other:?}"),
        }
    }
}
