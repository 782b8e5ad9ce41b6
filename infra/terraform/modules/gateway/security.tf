# Who may connect. Two groups on the load balancer, because the prefix lists of CloudFront (55 rules)
# and Route 53 (25) together exceed the 60 rules one group may have. CloudFront reaches its origin by
# IPv4 and so do health checks of a host name, so their IPv6 lists are not admitted.

data "aws_ec2_managed_prefix_list" "cloudfront" {
  name = "com.amazonaws.global.cloudfront.origin-facing"
}

data "aws_ec2_managed_prefix_list" "route53" {
  name = "com.amazonaws.${data.aws_region.current.name}.route53-healthchecks"
}

resource "aws_security_group" "edge" {
  name        = "${var.name}-alb-edge"
  description = "HTTPS from CloudFront; out to the tasks"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "cloudfront" {
  security_group_id = aws_security_group.edge.id
  description       = "HTTPS from CloudFront"
  prefix_list_id    = data.aws_ec2_managed_prefix_list.cloudfront.id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "tasks" {
  security_group_id            = aws_security_group.edge.id
  description                  = "Requests and health checks to the tasks"
  referenced_security_group_id = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = local.public_port
  to_port                      = local.public_port
}

resource "aws_security_group" "probes" {
  name        = "${var.name}-alb-probes"
  description = "HTTPS from Route 53 health checks and dist-test.sh"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "route53" {
  security_group_id = aws_security_group.probes.id
  description       = "HTTPS from Route 53 health checks"
  prefix_list_id    = data.aws_ec2_managed_prefix_list.route53.id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "probe_ipv4" {
  for_each = toset(var.probe_cidrs)

  security_group_id = aws_security_group.probes.id
  description       = "HTTPS from dist-test.sh"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "probe_ipv6" {
  for_each = toset(var.probe_ipv6_cidrs)

  security_group_id = aws_security_group.probes.id
  description       = "HTTPS from dist-test.sh"
  cidr_ipv6         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_security_group" "tasks" {
  name        = "${var.name}-tasks"
  description = "The gateway tasks"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "alb" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "Requests from the load balancer"
  referenced_security_group_id = aws_security_group.edge.id
  ip_protocol                  = "tcp"
  from_port                    = local.public_port
  to_port                      = local.public_port
}

resource "aws_vpc_security_group_ingress_rule" "scrape" {
  for_each = toset(var.scrape_cidrs)

  security_group_id = aws_security_group.tasks.id
  description       = "Metrics"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = local.admin_port
  to_port           = local.admin_port
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.tasks.id
  description       = "JWKS, image, secrets, logs"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "postgres" {
  for_each = toset(var.database_cidrs)

  security_group_id = aws_security_group.tasks.id
  description       = "PostgreSQL here and in the other regions"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}
