resource "aws_cloudwatch_log_group" "gateway" {
  name              = "/${var.name}/gateway"
  retention_in_days = 365
  kms_key_id        = var.kms_key_arn
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  # The running-tasks alarm reads its metric from here.
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

locals {
  # Of every task; those of the gateway itself have the fleet's as well.
  settings = merge(
    {
      REGION      = var.region
      LISTEN_ADDR = "0.0.0.0:${local.public_port}"
      ADMIN_ADDR  = local.admin_addr
      LOG_FORMAT  = "json"
    },
    var.environment,
  )
  environment = merge(concat(
    [local.settings],
    [for fleet in var.fleet[*] : local.fleet_environment],
    [for storage in var.storage[*] : local.storage_environment],
  )...)

  container = {
    name                   = "gateway"
    image                  = var.image
    essential              = true
    user                   = "10001:10001"
    readonlyRootFilesystem = true
    # Drain delay 5 s plus the 30 s cap for requests in flight, and a little.
    stopTimeout     = 45
    linuxParameters = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.gateway.name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = "gateway"
        # Rather lose a log line than hold up a request when the log service is slow.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }
  }

  ports = concat(
    [local.public_port],
    [for fleet in var.fleet[*] : local.fleet_port],
    [for storage in var.storage[*] : local.storage_port],
  )
  mounts = concat(local.fleet_mounts, local.spool_mounts)
  # They end before the gateway starts.
  first = concat(local.fleet_files_containers, local.spool_containers)

  # Only where there is something to say.
  further = concat(
    [for mounts in [local.mounts] : { mountPoints = mounts } if length(mounts) > 0],
    [for first in [local.first] : { dependsOn = [for one in first : { containerName = one.name, condition = "SUCCESS" }] } if length(first) > 0],
  )

  gateway = merge(concat([local.container, {
    portMappings = [for port in local.ports : { containerPort = port, protocol = "tcp" }]
    environment  = [for name, value in local.environment : { name = name, value = value }]
    secrets      = [for name, arn in var.secret_arns : { name = name, valueFrom = arn }]
  }], local.further)...)

  containers = concat(
    [local.gateway],
    local.first,
    [for image in local.agent_image[*] : local.agent_container],
  )

  # What runs once, as the administrator.
  one_off = merge(local.container, {
    environment = [for name, value in local.settings : { name = name, value = value }]
    secrets     = [{ name = "DATABASE_URL", valueFrom = one(var.migration[*].url_secret_arn) }]
  })

  migrate = merge(local.one_off, {
    name    = "migrate"
    command = ["migrate"]
  })
}

# skip_destroy: a replaced definition stays registered, or the circuit breaker, and a task that must be
# started again during a deployment, would have none to go back to.
resource "aws_ecs_task_definition" "gateway" {
  family                   = "${var.name}-gateway"
  skip_destroy             = true
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.task_cpu
  memory                   = var.task_memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = jsonencode(local.containers)

  dynamic "volume" {
    for_each = var.fleet[*]

    content {
      name = "fleet"
    }
  }

  dynamic "volume" {
    for_each = var.fleet[*].state

    content {
      name = "state"

      efs_volume_configuration {
        file_system_id     = volume.value.file_system_id
        transit_encryption = "ENABLED"

        authorization_config {
          access_point_id = volume.value.access_point_id
          iam             = "ENABLED"
        }
      }
    }
  }

  dynamic "volume" {
    for_each = var.storage[*]

    content {
      name = "spool"
    }
  }

  dynamic "ephemeral_storage" {
    for_each = var.storage[*].spool_gib

    content {
      size_in_gib = ephemeral_storage.value
    }
  }

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  lifecycle {
    precondition {
      condition     = var.region == data.aws_region.current.name
      error_message = "REGION would be ${var.region} but the provider works in ${data.aws_region.current.name}."
    }
  }
}

# Not a service: `aws ecs run-task` starts it, before a release that changes the schema.
resource "aws_ecs_task_definition" "migrate" {
  count = var.migration == null ? 0 : 1

  family                   = "${var.name}-migrate"
  skip_destroy             = true
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = jsonencode([local.migrate])
}

resource "aws_ecs_service" "gateway" {
  name                               = "gateway"
  cluster                            = aws_ecs_cluster.this.arn
  task_definition                    = aws_ecs_task_definition.gateway.arn
  launch_type                        = "FARGATE"
  platform_version                   = "LATEST"
  desired_count                      = var.task_count_min
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 30
  enable_execute_command             = false
  propagate_tags                     = "SERVICE"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [aws_security_group.tasks.id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.gateway.arn
    container_name   = local.container.name
    container_port   = local.public_port
  }

  dynamic "load_balancer" {
    for_each = var.storage[*].target_group_arn

    content {
      target_group_arn = load_balancer.value
      container_name   = local.container.name
      container_port   = local.storage_port
    }
  }

  dynamic "service_registries" {
    for_each = var.fleet[*].registry_arn

    content {
      registry_arn = service_registries.value
    }
  }

  lifecycle {
    # Autoscaling owns it after the first apply.
    ignore_changes = [desired_count]
  }

  # A task that starts before it may read its secrets, or before they hold a value, fails and counts
  # against the circuit breaker. The service waits, not the task definition: a definition that named the
  # versions would be replaced with each of them.
  depends_on = [
    var.secret_versions,
    aws_lb_listener_rule.verified,
    aws_iam_role_policy.secrets,
    aws_iam_role_policy.state,
    aws_iam_role_policy.storage,
    aws_iam_role_policy_attachment.execution,
  ]
}
