# Section 8 of the design at the edge: what CloudFront may cache, what it must pass on, and the WAF.

mock_provider "aws" {
  alias           = "us_east_1"
  source          = "./tests/mocks/us-east-1"
  override_during = plan
}

mock_provider "aws" {
  alias           = "eu_west_1"
  source          = "./tests/mocks/eu-west-1"
  override_during = plan
}

mock_provider "aws" {
  alias           = "ap_southeast_1"
  source          = "./tests/mocks/ap-southeast-1"
  override_during = plan
}

# Mocked providers refuse ephemeral resources even where none is opened, so theirs is a real one that
# never connects: account 000000000000 makes secrets.tf open none.
provider "aws" {
  alias                       = "secrets"
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_resource {
  target          = aws_cloudfront_cache_policy.cached
  override_during = plan
  values          = { id = "cache-policy-tidegate-cached" }
}

override_resource {
  target          = aws_cloudfront_cache_policy.uncached
  override_during = plan
  values          = { id = "cache-policy-tidegate-uncached" }
}

override_resource {
  target          = aws_cloudfront_origin_request_policy.cached
  override_during = plan
  values          = { id = "origin-request-policy-tidegate-cached" }
}

override_resource {
  target          = aws_cloudfront_origin_request_policy.uncached
  override_during = plan
  values          = { id = "origin-request-policy-tidegate-uncached" }
}

override_resource {
  target          = aws_cloudfront_response_headers_policy.security
  override_during = plan
  values          = { id = "response-headers-policy-tidegate-security" }
}

override_data {
  target          = data.aws_secretsmanager_secret_version.origin["a"]
  override_during = plan
  values          = { secret_string = "origin-secret-of-slot-a" }
}

override_data {
  target          = data.aws_secretsmanager_secret_version.origin["b"]
  override_during = plan
  values          = { secret_string = "origin-secret-of-slot-b" }
}

variables {
  account_id   = "000000000000"
  environment  = "test"
  domain_name  = "api.example.com"
  zone_id      = "Z0TEST"
  image_digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
  jwks_url     = "https://login.example.com/jwks"
}
run "edge" {
  command = plan

  # --- Nothing with a level or a token can be answered from cache. ---

  assert {
    condition = alltrue([
      for name in ["X-Consistency", "X-Consistency-Nonce"] :
      contains(one(one(aws_cloudfront_cache_policy.cached.parameters_in_cache_key_and_forwarded_to_origin).headers_config[0].headers).items, name)
    ])
    error_message = "X-Consistency and X-Consistency-Nonce must be in the cache key."
  }

  assert {
    condition = length(setintersection(
      one(aws_cloudfront_origin_request_policy.cached.headers_config[0].headers).items,
      ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers", "Sec-Fetch-Site"],
    )) == 4
    error_message = "What browsers say of a page reaches the gateway, which answers their preflights."
  }

  assert {
    condition     = contains(one(aws_cloudfront_origin_request_policy.cached.headers_config[0].headers).items, "X-Consistency-Token")
    error_message = "The token must reach the origin on cached paths."
  }

  assert {
    condition     = !contains(one(aws_cloudfront_origin_request_policy.cached.headers_config[0].headers).items, "Authorization")
    error_message = "Authorization must not reach the origin where answers are shared."
  }

  assert {
    condition     = aws_cloudfront_cache_policy.cached.min_ttl == 0 && aws_cloudfront_cache_policy.uncached.min_ttl == 0
    error_message = "min_ttl above 0 makes CloudFront ignore no-store."
  }

  assert {
    condition = alltrue([
      for behaviour in concat(
        aws_cloudfront_distribution.edge.default_cache_behavior,
        aws_cloudfront_distribution.edge.ordered_cache_behavior,
      ) :
      one(behaviour.function_association).event_type == "viewer-request" &&
      one(behaviour.function_association).function_arn == aws_cloudfront_function.consistency.arn
    ])
    error_message = "Every behaviour must run the viewer-request function, or clients choose the nonce."
  }

  assert {
    condition = (
      aws_cloudfront_function.consistency.runtime == "cloudfront-js-2.0" &&
      aws_cloudfront_function.consistency.publish &&
      aws_cloudfront_function.consistency.code == file("./functions/consistency.js")
    )
    error_message = "The published function must be the tested file."
  }

  # --- A browser's session reaches the gateway wherever it counts, and no shared answer knows of it. ---

  assert {
    condition     = aws_cloudfront_origin_request_policy.uncached.cookies_config[0].cookie_behavior == "all"
    error_message = "Cookies must reach the origin on paths that are not cached."
  }

  assert {
    condition = (
      aws_cloudfront_origin_request_policy.cached.cookies_config[0].cookie_behavior == "none" &&
      alltrue([for row in local.policy.rows : !(row.cached && row.session_cookie)])
    )
    error_message = "No cookie may reach the origin on cached paths, and no row with a session cookie may be cached."
  }

  # --- Nothing outside the cached paths is cached. ---

  assert {
    condition     = aws_cloudfront_distribution.edge.default_cache_behavior[0].cache_policy_id == "cache-policy-tidegate-uncached"
    error_message = "The default behaviour must not cache."
  }

  assert {
    condition = alltrue([
      for behaviour in concat(
        aws_cloudfront_distribution.edge.default_cache_behavior,
        [for ordered in aws_cloudfront_distribution.edge.ordered_cache_behavior : ordered if ordered.cache_policy_id != "cache-policy-tidegate-cached"],
        ) : (
        behaviour.cache_policy_id == "cache-policy-tidegate-uncached" &&
        behaviour.origin_request_policy_id == "origin-request-policy-tidegate-uncached" &&
        toset(behaviour.allowed_methods) == toset(["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"])
      )
    ])
    error_message = "What is not cached takes every method and forwards what the client sent: a behaviour that forwards nothing has no Authorization."
  }

  assert {
    condition = alltrue([
      for behaviour in concat(
        aws_cloudfront_distribution.edge.default_cache_behavior,
        aws_cloudfront_distribution.edge.ordered_cache_behavior,
        ) : (
        behaviour.target_origin_id == one(aws_cloudfront_distribution.edge.origin).origin_id &&
        behaviour.response_headers_policy_id == "response-headers-policy-tidegate-security"
      )
    ])
    error_message = "Every behaviour leads to the gateways and adds the security headers."
  }

  assert {
    condition     = aws_cloudfront_cache_policy.uncached.default_ttl == 0 && aws_cloudfront_cache_policy.uncached.max_ttl == 0
    error_message = "The uncached policy must keep nothing."
  }

  assert {
    condition     = aws_cloudfront_cache_policy.cached.default_ttl == 0
    error_message = "An answer that says nothing about caching must not be kept."
  }

  assert {
    condition     = aws_cloudfront_cache_policy.cached.max_ttl == 360
    error_message = "A copy may be kept for max-age plus stale-while-revalidate at most."
  }

  assert {
    condition = toset([
      for behaviour in aws_cloudfront_distribution.edge.ordered_cache_behavior : behaviour.path_pattern
      if behaviour.cache_policy_id == "cache-policy-tidegate-cached"
    ]) == toset(["/public", "/public/*", "/api/v1/rates", "/api/v1/rates/*", "/api/v1/fees", "/api/v1/fees/*"])
    error_message = "Exactly the public rows are cached, each with and without what is below it."
  }

  assert {
    condition = alltrue([
      for behaviour in aws_cloudfront_distribution.edge.ordered_cache_behavior :
      length(setintersection(behaviour.allowed_methods, ["PUT", "POST", "PATCH", "DELETE"])) == 0 &&
      behaviour.origin_request_policy_id == "origin-request-policy-tidegate-cached"
    ])
    error_message = "Cached paths take no writes and forward only what the cached policy names."
  }

  assert {
    condition     = contains(aws_cloudfront_distribution.edge.default_cache_behavior[0].allowed_methods, "POST")
    error_message = "Writes must get through the default behaviour."
  }

  assert {
    condition = (
      aws_cloudfront_origin_request_policy.uncached.headers_config[0].header_behavior == "allExcept" &&
      toset(one(aws_cloudfront_origin_request_policy.uncached.headers_config[0].headers).items) == toset(
        ["Host", "CloudFront-Viewer-Country", "CloudFront-Viewer-Latitude", "CloudFront-Viewer-Longitude"]
      )
    )
    error_message = "Uncached paths forward levels, tokens, idempotency keys and authorization, but neither Host nor where a client says it is: the gateway trusts CloudFront's word."
  }

  assert {
    condition = alltrue([
      for policy in [aws_cloudfront_origin_request_policy.cached, aws_cloudfront_origin_request_policy.uncached] :
      policy.query_strings_config[0].query_string_behavior == "all"
    ]) && one(aws_cloudfront_cache_policy.cached.parameters_in_cache_key_and_forwarded_to_origin).query_strings_config[0].query_string_behavior == "all"
    error_message = "Query strings reach the origin and are part of the key."
  }

  # --- Errors are not cached. ---

  assert {
    condition = toset([
      for response in aws_cloudfront_distribution.edge.custom_error_response : response.error_code
      if response.error_caching_min_ttl == 0
    ]) == toset([400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504])
    error_message = "Every error CloudFront would cache by itself must have error_caching_min_ttl = 0."
  }

  assert {
    condition     = alltrue([for response in aws_cloudfront_distribution.edge.custom_error_response : response.response_page_path == null || response.response_page_path == ""])
    error_message = "Problem documents must not be replaced by pages."
  }

  # --- The way to the origin. ---

  assert {
    condition = alltrue([
      for header in one(aws_cloudfront_distribution.edge.origin).custom_header :
      header.name == "X-Origin-Verify" && header.value == nonsensitive(data.aws_secretsmanager_secret_version.origin["a"].secret_string)
    ]) && length(one(aws_cloudfront_distribution.edge.origin).custom_header) == 1
    error_message = "CloudFront must send the active origin secret."
  }

  assert {
    condition = (
      one(aws_cloudfront_distribution.edge.origin).domain_name == "origin.api.example.com" &&
      one(one(aws_cloudfront_distribution.edge.origin).custom_origin_config).origin_protocol_policy == "https-only" &&
      tolist(one(one(aws_cloudfront_distribution.edge.origin).custom_origin_config).origin_ssl_protocols) == tolist(["TLSv1.2"])
    )
    error_message = "CloudFront connects to the latency name, by TLS 1.2 only."
  }

  assert {
    condition     = one(one(aws_cloudfront_distribution.edge.origin).custom_origin_config).origin_read_timeout > 10
    error_message = "CloudFront must outwait the gateway's request deadline of 10 s."
  }

  assert {
    condition = alltrue([
      for behaviour in concat(
        aws_cloudfront_distribution.edge.default_cache_behavior,
        aws_cloudfront_distribution.edge.ordered_cache_behavior,
      ) : behaviour.viewer_protocol_policy == "https-only"
    ])
    error_message = "Viewers come by HTTPS only: a redirect would have seen the credentials already."
  }

  assert {
    condition = (
      one(aws_cloudfront_distribution.edge.viewer_certificate).minimum_protocol_version == "TLSv1.2_2021" &&
      strcontains(one(aws_cloudfront_distribution.edge.viewer_certificate).acm_certificate_arn, ":us-east-1:") &&
      aws_acm_certificate.viewer.domain_name == "api.example.com"
    )
    error_message = "The viewers' certificate is the public name's, in us-east-1, with TLS 1.2 at least."
  }

  assert {
    condition = alltrue([
      for record in aws_route53_record.viewer : record.name == "api.example.com"
    ]) && toset(keys(aws_route53_record.viewer)) == toset(["A", "AAAA"])
    error_message = "The public name leads to the distribution, by IPv4 and IPv6."
  }

  # --- The WAF is attached and does something. ---

  assert {
    condition     = aws_cloudfront_distribution.edge.web_acl_id == aws_wafv2_web_acl.edge.arn
    error_message = "The web ACL must be attached to the distribution."
  }

  assert {
    condition     = aws_wafv2_web_acl.edge.scope == "CLOUDFRONT" && strcontains(aws_wafv2_web_acl.edge.arn, ":us-east-1:")
    error_message = "A distribution takes a web ACL of scope CLOUDFRONT, in us-east-1."
  }

  assert {
    condition = toset(flatten([
      for rule in aws_wafv2_web_acl.edge.rule : [
        for group in rule.statement[0].managed_rule_group_statement : group.name
        if length(flatten(rule.override_action[*].none)) == 1
      ]
    ])) == toset(["AWSManagedRulesAmazonIpReputationList", "AWSManagedRulesKnownBadInputsRuleSet", "AWSManagedRulesCommonRuleSet"])
    error_message = "Three managed rule groups must be in force, not merely counting."
  }

  assert {
    condition = anytrue([
      for rule in aws_wafv2_web_acl.edge.rule :
      length(rule.statement[0].rate_based_statement) == 1 && length(flatten(rule.action[*].block)) == 1
    ])
    error_message = "Addresses over the rate limit must be blocked."
  }

  assert {
    condition = toset(flatten([
      for field in aws_wafv2_web_acl_logging_configuration.edge.redacted_fields : field.single_header[*].name
    ])) == toset(["authorization", "x-consistency-token"])
    error_message = "Credentials and tokens must not be in the WAF's log."
  }
}

run "the_other_origin_secret" {
  command = plan

  variables {
    origin_secret_active = "b"
  }

  assert {
    condition     = alltrue([for header in one(aws_cloudfront_distribution.edge.origin).custom_header : header.value == nonsensitive(data.aws_secretsmanager_secret_version.origin["b"].secret_string)])
    error_message = "Switching the slot must switch what CloudFront sends."
  }
}
