//! Rows as JSON, for operators. Secrets are left out.

use serde_json::{Value, json};

use super::{BucketCredentials, BucketRow, RepositoryRow};

/// A bucket.
#[must_use]
pub fn bucket_as_json(row: &BucketRow) -> Value {
    let declared = &row.declared;
    let access_key_id = match &row.credentials {
        Some(BucketCredentials::Key { access_key_id, .. }) => Some(access_key_id),
        _ => None,
    };
    json!({
        "id": row.id,
        "name": declared.name,
        "provider": declared.provider,
        "region": declared.region,
        "url": declared.url,
        "accessKeyId": access_key_id,
        "softCap": declared.soft_cap,
        "credit": declared.credit,
        "quota": declared.quota,
        "priceOut": declared.price_out,
        "writes": row.writes,
        "draining": row.draining,
        "heldBytes": row.held,
        "writtenBytes": row.written,
        "error": row.broken,
    })
}

/// A repository.
#[must_use]
pub fn repository_as_json(row: &RepositoryRow) -> Value {
    let policy = &row.policy;
    if let Some(error) = &row.broken {
        return json!({"id": row.id, "name": row.name, "buckets": row.members, "error": error});
    }
    json!({
        "id": row.id,
        "name": row.name,
        "buckets": row.members,
        "write": policy.write,
        "read": policy.read,
        "consistency": policy.consistency,
        "redirect": policy.redirect,
        "readSlo": policy.read_slo_ms.map(|milliseconds| format!("{milliseconds}ms")),
        "mirror": policy.mirror,
        "rules": policy.rules,
    })
}
