# The gateway as a member of a fleet: what the listener for peers needs (var.fleet; null without one).
#
# A task's secrets are variables, but certificates are files, so a container that ends before the gateway
# starts writes them, with the configuration, to a volume of the task. It is of the image's group, and
# owns the volume, which belongs to root.

locals {
  fleet_port   = 8443
  fleet_folder = "/run/fleet"
  state_folder = "/var/lib/tidegate"

  # Both append to X-Forwarded-For: CloudFront, and the load balancer in its subnets. Without them every client
  # of a policy by country or network would be the load balancer.
  proxies = sort(concat(var.proxy_cidrs, [for range in data.aws_ec2_managed_prefix_list.cloudfront.entries : range.cidr]))

  # JSON's strings and lists are TOML's, too.
  fleet_configuration = one([
    for fleet in var.fleet[*] : <<-EOT
      [server]
      trusted_proxies = ${jsonencode(local.proxies)}
      [fleet]
      name = ${jsonencode(fleet.name)}
      state_dir = "${local.state_folder}"
      trusted_keys = ${jsonencode(fleet.trusted_keys)}
      %{for region, host in fleet.hosts}
      [[fleet.peers]]
      region = "${region}"
      address = "${host}:${local.fleet_port}"
      %{endfor}
    EOT
  ])

  fleet_environment = {
    FLEET_ADDR      = "0.0.0.0:${local.fleet_port}"
    FLEET_CERT      = "${local.fleet_folder}/certificate.pem"
    FLEET_KEY       = "${local.fleet_folder}/key.pem"
    FLEET_CA        = "${local.fleet_folder}/ca.pem"
    TIDEGATE_CONFIG = "${local.fleet_folder}/tidegate.toml"
  }

  # The variable that a file is written from.
  fleet_files = {
    "certificate.pem" = "CERTIFICATE"
    "key.pem"         = "KEY"
    "ca.pem"          = "CA"
    "tidegate.toml"   = "CONFIGURATION"
  }

  # What the gateway's own container has beside the rest.
  fleet_mounts = flatten([
    for fleet in var.fleet[*] : [
      { sourceVolume = "fleet", containerPath = local.fleet_folder, readOnly = true },
      { sourceVolume = "state", containerPath = local.state_folder, readOnly = false },
    ]
  ])

  fleet_files_containers = [
    for fleet in var.fleet[*] : merge(local.container, {
      name        = "fleet-files"
      essential   = false
      user        = "0:10001"
      entryPoint  = ["bash", "-euc"]
      command     = [join("; ", concat(["umask 027", "cd ${local.fleet_folder}"], [for file, variable in local.fleet_files : "printf '%s\\n' \"$${${variable}}\" >${file}"]))]
      mountPoints = [{ sourceVolume = "fleet", containerPath = local.fleet_folder, readOnly = false }]
      environment = [{ name = "CONFIGURATION", value = local.fleet_configuration }]
      secrets     = [for part in ["certificate", "key", "ca"] : { name = upper(part), valueFrom = "${fleet.certificate_arn}:${part}::" }]
    })
  ]
}

# The ranges of the tasks' subnets, because a security group of another region cannot be named. The own
# region's among them: siblings hear each other, too.
resource "aws_vpc_security_group_ingress_rule" "fleet" {
  for_each = toset(var.fleet == null ? [] : var.fleet_cidrs)

  security_group_id = aws_security_group.tasks.id
  description       = "The fleet's gateways"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = local.fleet_port
  to_port           = local.fleet_port
}

resource "aws_vpc_security_group_egress_rule" "fleet" {
  for_each = toset(var.fleet == null ? [] : var.fleet_cidrs)

  security_group_id = aws_security_group.tasks.id
  description       = "The fleet's gateways"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = local.fleet_port
  to_port           = local.fleet_port
}

resource "aws_vpc_security_group_egress_rule" "state" {
  count = var.fleet == null ? 0 : 1

  security_group_id            = aws_security_group.tasks.id
  description                  = "The last traffic policy, by NFS"
  referenced_security_group_id = one(var.fleet[*].state.security_group_id)
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}

resource "aws_iam_role_policy" "state" {
  count = var.fleet == null ? 0 : 1

  name   = "keep-the-last-traffic-policy"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.state[0].json
}

data "aws_iam_policy_document" "state" {
  count = var.fleet == null ? 0 : 1

  statement {
    actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    resources = [one(var.fleet[*].state.file_system_arn)]

    condition {
      test     = "StringEquals"
      variable = "elasticfilesystem:AccessPointArn"
      values   = [one(var.fleet[*].state.access_point_arn)]
    }
  }
}

# Not a service: `aws ecs run-task` starts it, to roll out a traffic policy (infra/README.md, "Rolling out a
# traffic policy"). Its command is what follows `tidegate policy`; with TRAFFIC_POLICY, a file by gzip and
# base64, that is pushed first, and the command is the options of its rollout.
resource "aws_ecs_task_definition" "policy" {
  count = var.fleet != null && var.migration != null ? 1 : 0

  family                   = "${var.name}-policy"
  skip_destroy             = true
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = jsonencode([local.policy])
}

locals {
  policy = merge(local.one_off, {
    name       = "policy"
    entryPoint = ["bash", "-euo", "pipefail", "-c", local.policy_script, "policy"]
    command    = ["status"]
  })

  # The root file system is read-only, so no file and no here-document, which may need one.
  policy_script = <<-EOT
    if [ -z "$${TRAFFIC_POLICY:-}" ]; then exec tidegate policy "$@"; fi
    pushed=$(tidegate policy push --note "$${NOTE:-}" <(printf %s "$TRAFFIC_POLICY" | base64 -d | gunzip))
    printf '%s\n' "$pushed"
    exec tidegate policy rollout "$@" "$${pushed##*$'\n'}"
  EOT
}
