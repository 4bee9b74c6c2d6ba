//! Our OpenAPI document against the contract.

use sebring_contract::{Contract, check};

#[test]
fn the_document_is_the_contracts() {
    let document = serde_json::to_value(sebring_api::openapi("0")).expect("JSON");
    check(Contract::Api, &document);
}
