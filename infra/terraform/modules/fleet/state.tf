# The last traffic policy in force, for gateways that start while no database answers. A task's own disk is
# gone with the task, so it is a file system of the region.

resource "aws_efs_file_system" "state" {
  #checkov:skip=CKV2_AWS_18:One file that the next rollout, or any gateway with a database, writes again
  encrypted  = true
  kms_key_id = var.kms_key_arn

  tags = { Name = "${var.name}-fleet-state" }
}

resource "aws_efs_mount_target" "state" {
  count = length(var.subnet_ids)

  file_system_id  = aws_efs_file_system.state.id
  subnet_id       = var.subnet_ids[count.index]
  security_groups = [aws_security_group.state.id]
}

# The image's user, whatever a task says it is.
resource "aws_efs_access_point" "state" {
  file_system_id = aws_efs_file_system.state.id

  posix_user {
    uid = 10001
    gid = 10001
  }

  root_directory {
    path = "/tidegate"

    creation_info {
      owner_uid   = 10001
      owner_gid   = 10001
      permissions = "0700"
    }
  }
}

resource "aws_security_group" "state" {
  name        = "${var.name}-fleet-state"
  description = "NFS from the gateway tasks"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "state" {
  security_group_id            = aws_security_group.state.id
  description                  = "NFS from the gateway tasks"
  referenced_security_group_id = var.task_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}
