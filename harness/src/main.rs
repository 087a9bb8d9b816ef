#![doc = "hipri"]
fn main() {}
