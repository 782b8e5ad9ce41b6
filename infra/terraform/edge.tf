# CloudFront. What may be cached comes from edge-policy.json, which `tidegate check --edge-policy` prints
# from the table the gateway itself uses, so the two cannot disagree.
#
# A request that states a level or a token must reach the gateway. The viewer-request function marks it
# with a nonce that no two requests share; the nonce is in the cache key, so nothing stored can match.

locals {
  policy = jsondecode(file("${path.module}/../edge-policy.json"))
  cached = [for row in local.policy.rows : row if row.cached]

  # A row below a cached one needs a behaviour of its own, or the cached one would catch its requests.
  behaved = [
    for row in local.policy.rows : row
    if row.cached || anytrue([for above in local.cached : startswith(row.path, trimsuffix(above.path, "*"))])
  ]

  # Their answers depend on the page that asks (`cors` with a list of origins).
  varied = anytrue([for row in local.cached : row.varies_by_origin])

  # In the file's order: longest literal first, and CloudFront takes the first that matches.
  behaviours = flatten([
    for row in local.behaved : [for path in row.cdn_paths : { path = path, cached = row.cached }]
  ])

  # How long a copy may be kept at most; what a response says counts, this only caps it.
  max_ttl = max(0, [for row in local.cached : row.max_age + row.stale_while_revalidate]...)

  # CloudFront caches these for ten seconds, whatever they say, unless told not to.
  uncached_errors = [400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504]
}

resource "aws_cloudfront_function" "consistency" {
  provider = aws.us_east_1

  name    = "${var.name}-consistency"
  runtime = "cloudfront-js-2.0"
  comment = "Marks requests that state a level or a token, so that no cache answers them"
  publish = true
  code    = file("${path.module}/functions/consistency.js")
}

# min_ttl above 0 would make CloudFront ignore no-store; default_ttl counts when a response says nothing.
resource "aws_cloudfront_cache_policy" "cached" {
  provider = aws.us_east_1

  name        = "${var.name}-cached"
  comment     = "Public rows of the policy table"
  min_ttl     = 0
  default_ttl = 0
  max_ttl     = local.max_ttl

  parameters_in_cache_key_and_forwarded_to_origin {
    enable_accept_encoding_brotli = true
    enable_accept_encoding_gzip   = true

    headers_config {
      header_behavior = "whitelist"

      headers {
        items = concat(["X-Consistency", "X-Consistency-Nonce"], local.varied ? ["Origin"] : [])
      }
    }

    query_strings_config {
      query_string_behavior = "all"
    }

    cookies_config {
      cookie_behavior = "none"
    }
  }
}

resource "aws_cloudfront_cache_policy" "uncached" {
  provider = aws.us_east_1

  name        = "${var.name}-uncached"
  comment     = "Everything else: nothing is kept"
  min_ttl     = 0
  default_ttl = 0
  max_ttl     = 0

  parameters_in_cache_key_and_forwarded_to_origin {
    headers_config {
      header_behavior = "none"
    }

    query_strings_config {
      query_string_behavior = "none"
    }

    cookies_config {
      cookie_behavior = "none"
    }
  }
}

# No Authorization here: what is shared must not depend on the client. What browsers say of a page is for
# preflights, which are not cached.
resource "aws_cloudfront_origin_request_policy" "cached" {
  provider = aws.us_east_1

  name    = "${var.name}-cached"
  comment = "The token, beside what the cache key forwards"

  headers_config {
    header_behavior = "whitelist"

    headers {
      items = concat(
        ["X-Consistency-Token", "X-Request-Id", "Access-Control-Request-Method", "Access-Control-Request-Headers", "Sec-Fetch-Site"],
        local.varied ? [] : ["Origin"],
      )
    }
  }

  query_strings_config {
    query_string_behavior = "all"
  }

  cookies_config {
    cookie_behavior = "none"
  }
}

# Host stays behind: the origin is known by its own name, which its certificate covers. So does where a client
# says that it is, which the gateway would believe, as it comes from CloudFront.
resource "aws_cloudfront_origin_request_policy" "uncached" {
  provider = aws.us_east_1

  name    = "${var.name}-uncached"
  comment = "All a client sends but Host and its location"

  headers_config {
    header_behavior = "allExcept"

    headers {
      items = ["Host", "CloudFront-Viewer-Country", "CloudFront-Viewer-Latitude", "CloudFront-Viewer-Longitude"]
    }
  }

  query_strings_config {
    query_string_behavior = "all"
  }

  # The session's, for rows with session_cookie, which are never cached; and those of applications behind
  # upstream endpoints.
  cookies_config {
    cookie_behavior = "all"
  }
}

resource "aws_cloudfront_response_headers_policy" "security" {
  #checkov:skip=CKV_AWS_259:HSTS is set; preload would bind the whole registered domain, which is not ours to decide
  provider = aws.us_east_1

  name    = "${var.name}-security"
  comment = "Adds what browsers need; leaves Cache-Control and the consistency headers alone"

  security_headers_config {
    strict_transport_security {
      access_control_max_age_sec = 63072000
      include_subdomains         = true
      override                   = true
    }

    content_type_options {
      override = true
    }

    frame_options {
      frame_option = "DENY"
      override     = true
    }

    referrer_policy {
      referrer_policy = "no-referrer"
      override        = true
    }

    content_security_policy {
      content_security_policy = "default-src 'none'; frame-ancestors 'none'"
      override                = false
    }
  }
}

resource "aws_cloudfront_distribution" "edge" {
  #checkov:skip=CKV_AWS_86:Logged by standard logging v2 at the end of this file, which the check does not know
  #checkov:skip=CKV_AWS_374:An API for all countries
  #checkov:skip=CKV_AWS_310:The origin is a latency name whose health checks fail over between regions
  #checkov:skip=CKV_AWS_305:An API has no root document
  #checkov:skip=CKV2_AWS_47:AWSManagedRulesKnownBadInputsRuleSet is in waf.tf, by a dynamic block the check does not read
  provider = aws.us_east_1

  enabled         = true
  comment         = "${var.name} ${var.environment}"
  aliases         = [var.domain_name]
  is_ipv6_enabled = true
  http_version    = "http2and3"
  price_class     = "PriceClass_All"
  web_acl_id      = aws_wafv2_web_acl.edge.arn

  origin {
    origin_id           = "gateways"
    domain_name         = local.origin_host
    connection_attempts = 2
    connection_timeout  = 4

    custom_header {
      name  = "X-Origin-Verify"
      value = data.aws_secretsmanager_secret_version.origin[var.origin_secret_active].secret_string
    }

    custom_origin_config {
      http_port                = 80
      https_port               = 443
      origin_protocol_policy   = "https-only"
      origin_ssl_protocols     = ["TLSv1.2"]
      origin_keepalive_timeout = 60
      # The gateway gives up at 10 s and says why; waiting less would hide its answer.
      origin_read_timeout = 15
    }
  }

  default_cache_behavior {
    target_origin_id           = "gateways"
    viewer_protocol_policy     = "https-only"
    allowed_methods            = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
    cached_methods             = ["GET", "HEAD"]
    cache_policy_id            = aws_cloudfront_cache_policy.uncached.id
    origin_request_policy_id   = aws_cloudfront_origin_request_policy.uncached.id
    response_headers_policy_id = aws_cloudfront_response_headers_policy.security.id
    compress                   = false

    function_association {
      event_type   = "viewer-request"
      function_arn = aws_cloudfront_function.consistency.arn
    }
  }

  dynamic "ordered_cache_behavior" {
    for_each = local.behaviours

    content {
      path_pattern             = ordered_cache_behavior.value.path
      target_origin_id         = "gateways"
      viewer_protocol_policy   = "https-only"
      allowed_methods          = ordered_cache_behavior.value.cached ? ["GET", "HEAD", "OPTIONS"] : ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
      cached_methods           = ["GET", "HEAD"]
      cache_policy_id          = ordered_cache_behavior.value.cached ? aws_cloudfront_cache_policy.cached.id : aws_cloudfront_cache_policy.uncached.id
      origin_request_policy_id = ordered_cache_behavior.value.cached ? aws_cloudfront_origin_request_policy.cached.id : aws_cloudfront_origin_request_policy.uncached.id

      response_headers_policy_id = aws_cloudfront_response_headers_policy.security.id
      compress                   = ordered_cache_behavior.value.cached

      function_association {
        event_type   = "viewer-request"
        function_arn = aws_cloudfront_function.consistency.arn
      }
    }
  }

  dynamic "custom_error_response" {
    for_each = local.uncached_errors

    content {
      error_code            = custom_error_response.value
      error_caching_min_ttl = 0
    }
  }

  viewer_certificate {
    acm_certificate_arn      = aws_acm_certificate_validation.viewer.certificate_arn
    ssl_support_method       = "sni-only"
    minimum_protocol_version = "TLSv1.2_2021"
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }
}

resource "aws_route53_record" "viewer" {
  provider = aws.us_east_1
  for_each = toset(["A", "AAAA"])

  zone_id = var.zone_id
  name    = var.domain_name
  type    = each.key

  alias {
    name                   = aws_cloudfront_distribution.edge.domain_name
    zone_id                = aws_cloudfront_distribution.edge.hosted_zone_id
    evaluate_target_health = false
  }
}

# Access log, standard logging v2: no bucket with access lists is needed.
resource "aws_cloudwatch_log_delivery_source" "edge" {
  provider = aws.us_east_1

  name         = "${var.name}-edge"
  log_type     = "ACCESS_LOGS"
  resource_arn = aws_cloudfront_distribution.edge.arn
}

resource "aws_cloudwatch_log_delivery_destination" "edge" {
  provider = aws.us_east_1

  name          = "${var.name}-edge"
  output_format = "json"

  delivery_destination_configuration {
    destination_resource_arn = "${module.us_east_1.log_bucket_arn}/edge"
  }
}

resource "aws_cloudwatch_log_delivery" "edge" {
  provider = aws.us_east_1

  delivery_source_name     = aws_cloudwatch_log_delivery_source.edge.name
  delivery_destination_arn = aws_cloudwatch_log_delivery_destination.edge.arn
}
