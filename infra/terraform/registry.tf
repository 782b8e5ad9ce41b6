# The image's home, copied by ECR into every other region, so that a region starts tasks without
# reaching another one.

resource "aws_ecr_repository" "gateway" {
  provider = aws.us_east_1

  name                 = var.name
  force_delete         = !local.home_protected
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
  }
}

resource "aws_ecr_replication_configuration" "gateway" {
  provider = aws.us_east_1

  replication_configuration {
    rule {
      dynamic "destination" {
        for_each = setsubtract(keys(var.regions), [local.home_region])

        content {
          region      = destination.value
          registry_id = var.account_id
        }
      }

      repository_filter {
        filter      = var.name
        filter_type = "PREFIX_MATCH"
      }
    }
  }
}
