# All names a region answers to in one certificate. The records that validate the shared names are the
# same in every region (ACM derives them from account and name), so acm.tf makes them once.

resource "aws_acm_certificate" "origin" {
  domain_name               = var.own_host
  subject_alternative_names = [var.origin_host, var.public_host]
  validation_method         = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  validation = {
    for option in aws_acm_certificate.origin.domain_validation_options : option.domain_name => option
  }
}

resource "aws_route53_record" "own_validation" {
  zone_id = var.zone_id
  name    = local.validation[var.own_host].resource_record_name
  type    = local.validation[var.own_host].resource_record_type
  records = [local.validation[var.own_host].resource_record_value]
  ttl     = 300
}

resource "aws_acm_certificate_validation" "origin" {
  certificate_arn         = aws_acm_certificate.origin.arn
  validation_record_fqdns = concat([aws_route53_record.own_validation.fqdn], var.shared_validation_fqdns)
}
