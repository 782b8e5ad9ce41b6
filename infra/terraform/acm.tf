# Certificates. CloudFront takes its one from us-east-1 only; each region's load balancer has its own in
# modules/gateway, and all of them share the validation records of the public and the latency name.

resource "aws_acm_certificate" "viewer" {
  provider = aws.us_east_1

  domain_name       = var.domain_name
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  viewer_validation = one([
    for option in aws_acm_certificate.viewer.domain_validation_options : option if option.domain_name == var.domain_name
  ])
  origin_validation       = module.us_east_1.certificate_validation[local.origin_host]
  shared_validation_fqdns = [aws_route53_record.origin_validation.fqdn, aws_route53_record.viewer_validation.fqdn]
}

resource "aws_route53_record" "viewer_validation" {
  provider = aws.us_east_1

  zone_id = var.zone_id
  name    = local.viewer_validation.resource_record_name
  type    = local.viewer_validation.resource_record_type
  records = [local.viewer_validation.resource_record_value]
  ttl     = 300
}

resource "aws_acm_certificate_validation" "viewer" {
  provider = aws.us_east_1

  certificate_arn         = aws_acm_certificate.viewer.arn
  validation_record_fqdns = [aws_route53_record.viewer_validation.fqdn]
}

# Shared by the certificates of all regions: ACM derives the record from account and name alone.
resource "aws_route53_record" "origin_validation" {
  provider = aws.us_east_1

  zone_id = var.zone_id
  name    = local.origin_validation.resource_record_name
  type    = local.origin_validation.resource_record_type
  records = [local.origin_validation.resource_record_value]
  ttl     = 300
}
