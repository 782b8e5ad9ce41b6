# Latency routing between the regions. CloudFront connects to one name; Route 53 answers with the
# nearest region whose own health check passes. When every check fails Route 53 treats all as healthy.

# Each check asks its region's own host: asked under the latency name, every checker would test the
# region nearest to itself.
resource "aws_route53_health_check" "region" {
  provider = aws.us_east_1
  for_each = local.deployed

  fqdn              = each.value.origin.host
  type              = "HTTPS"
  port              = 443
  resource_path     = "/health/edge"
  enable_sni        = true
  request_interval  = 10
  failure_threshold = 3
  measure_latency   = true

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_route53_record" "own_ipv4" {
  #checkov:skip=CKV2_AWS_23:An alias to the load balancer of each region, which the check cannot follow through for_each
  provider = aws.us_east_1
  for_each = local.deployed

  zone_id = var.zone_id
  name    = each.value.origin.host
  type    = "A"

  alias {
    name                   = each.value.origin.alb.dns_name
    zone_id                = each.value.origin.alb.zone_id
    evaluate_target_health = false
  }
}

resource "aws_route53_record" "own_ipv6" {
  provider = aws.us_east_1
  for_each = local.deployed

  zone_id = var.zone_id
  name    = each.value.origin.host
  type    = "AAAA"

  alias {
    name                   = each.value.origin.alb.dns_name
    zone_id                = each.value.origin.alb.zone_id
    evaluate_target_health = false
  }
}

resource "aws_route53_record" "latency_ipv4" {
  #checkov:skip=CKV2_AWS_23:An alias to the load balancer of each region, which the check cannot follow through for_each
  provider = aws.us_east_1
  for_each = local.deployed

  zone_id         = var.zone_id
  name            = local.origin_host
  type            = "A"
  set_identifier  = each.key
  health_check_id = aws_route53_health_check.region[each.key].id

  latency_routing_policy {
    region = each.key
  }

  alias {
    name                   = each.value.origin.alb.dns_name
    zone_id                = each.value.origin.alb.zone_id
    evaluate_target_health = true
  }
}

resource "aws_route53_record" "latency_ipv6" {
  provider = aws.us_east_1
  for_each = local.deployed

  zone_id         = var.zone_id
  name            = local.origin_host
  type            = "AAAA"
  set_identifier  = each.key
  health_check_id = aws_route53_health_check.region[each.key].id

  latency_routing_policy {
    region = each.key
  }

  alias {
    name                   = each.value.origin.alb.dns_name
    zone_id                = each.value.origin.alb.zone_id
    evaluate_target_health = true
  }
}
