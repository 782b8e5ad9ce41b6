# What the gateways of one region need as members of a fleet (docs/fleet.md): a name that resolves to all of
# them, a certificate, a place for the last traffic policy (state.tf), and alarms (alarms.tf). The listener
# and its port are in modules/gateway.

data "aws_region" "current" {}

locals {
  # As the gateways of all regions know it: local.fleet_host of the root module.
  namespace = "${data.aws_region.current.name}.${var.name}.internal"
}

# A private zone of its own for each region, so that a region's gateways stay known while another region's
# control plane is gone. fleet.tf associates it with the other regions' networks.
resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = local.namespace
  description = "The gateways of ${data.aws_region.current.name}, for those of other regions"
  vpc         = var.vpc_id
}

# ECS keeps the records. Gateways resolve names every 5 s.
resource "aws_service_discovery_service" "gateways" {
  name        = "gateways"
  description = "One record for each gateway task"

  # Tasks that still run when a fleet is taken apart must not hold it up.
  force_destroy = true

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 5
    }
  }

  health_check_custom_config {
    failure_threshold = 1
  }
}

# Its value comes from outside, so that no private key enters Terraform: infra/README.md, "Gateways as a
# fleet". Not replicated: a region's key stays in its region.
resource "aws_secretsmanager_secret" "certificate" {
  #checkov:skip=CKV2_AWS_57:Renewed as infra/README.md says; what signs it is not in this account
  name                    = "${var.name}/fleet-certificate"
  description             = "FLEET_CERT, FLEET_KEY and FLEET_CA, as JSON: certificate, key, ca"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.protected ? 30 : 0
}
