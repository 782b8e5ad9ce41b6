# The gateway of one region: load balancer (alb.tf, security.tf, certificate.tf), tasks (ecs.tf, iam.tf,
# autoscaling.tf), what a fleet adds (fleet.tf, agent.tf) and what is watched about them (alarms.tf).

data "aws_region" "current" {}

data "aws_partition" "current" {}

locals {
  public_port = 8080
  admin_port  = 9090
  # The second is where the first may be read from outside the task; see scrape_cidrs.
  admin_addr = length(var.scrape_cidrs) == 0 ? "127.0.0.1:${local.admin_port}" : "0.0.0.0:${local.admin_port}"
}
