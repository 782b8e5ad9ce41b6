# Object storage (var.storage; null without it): the tasks' S3 listener, disk for bodies that a bucket has not
# taken yet, and the right to the buckets of all regions, since every gateway reads and writes in each.

locals {
  storage_port = 9000
  spool_folder = "/var/spool/tidegate"

  # Where the gateway puts files of its own unless [storage] spool_dir says otherwise.
  storage_environment = {
    STORAGE_ADDR = "0.0.0.0:${local.storage_port}"
    TMPDIR       = local.spool_folder
  }

  spool_mounts = [
    for storage in var.storage[*] : { sourceVolume = "spool", containerPath = local.spool_folder, readOnly = false }
  ]
}

locals {
  # The volume belongs to root, which has no capabilities here: as the owner it may give it to a group of its own, the image's.
  spool_containers = [
    for storage in var.storage[*] : merge(local.container, {
      name        = "spool"
      essential   = false
      user        = "0:10001"
      entryPoint  = ["bash", "-euc"]
      command     = ["chgrp 10001 ${local.spool_folder}; chmod 0770 ${local.spool_folder}"]
      mountPoints = local.spool_mounts
    })
  ]
}

resource "aws_vpc_security_group_ingress_rule" "storage" {
  for_each = var.storage == null ? {} : { "S3" = local.storage_port, "health checks" = local.public_port }

  security_group_id            = aws_security_group.tasks.id
  description                  = "From the load balancer of S3: ${each.key}"
  referenced_security_group_id = one(var.storage[*].security_group_id)
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

resource "aws_iam_role_policy" "storage" {
  count = var.storage == null ? 0 : 1

  name   = "keep-objects"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.storage[0].json
}

data "aws_iam_policy_document" "storage" {
  count = var.storage == null ? 0 : 1

  statement {
    actions   = ["s3:ListBucket"]
    resources = var.storage.bucket_arns
  }

  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = [for arn in var.storage.bucket_arns : "${arn}/*"]
  }

  # The buckets' keys are those of their regions, which have no common name but this one; only by way of S3.
  statement {
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["arn:${data.aws_partition.current.partition}:kms:*:${var.storage.account_id}:key/*"]

    condition {
      test     = "ForAnyValue:StringEquals"
      variable = "kms:ResourceAliases"
      values   = ["alias/${var.name}"]
    }

    condition {
      test     = "StringLike"
      variable = "kms:ViaService"
      values   = ["s3.*.amazonaws.com"]
    }
  }
}
