# What AWS would answer in ap-southeast-1. ARNs carry the region, so that a resource made with the wrong alias shows.

mock_data "aws_region" {
  defaults = { name = "ap-southeast-1" }
}

mock_data "aws_availability_zones" {
  defaults = { names = ["ap-southeast-1a", "ap-southeast-1b", "ap-southeast-1c"] }
}

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_data "aws_iam_policy_document" {
  defaults = { json = "{}" }
}

mock_resource "aws_vpc" {
  defaults = { id = "vpc-ap-southeast-1", ipv6_cidr_block = "2600:1f00:1:100::/56" }
}

mock_resource "aws_lb" {
  defaults = { arn = "arn:aws:elasticloadbalancing:ap-southeast-1:000000000000:loadbalancer/app/t/1", dns_name = "ap-southeast-1.elb.test" }
}

mock_resource "aws_lb_target_group" {
  defaults = { arn = "arn:aws:elasticloadbalancing:ap-southeast-1:000000000000:targetgroup/t/1" }
}

mock_resource "aws_lb_listener" {
  defaults = { arn = "arn:aws:elasticloadbalancing:ap-southeast-1:000000000000:listener/app/t/1/2" }
}

mock_resource "aws_ecs_cluster" {
  defaults = { arn = "arn:aws:ecs:ap-southeast-1:000000000000:cluster/tidegate" }
}

mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws:ecs:ap-southeast-1:000000000000:task-definition/tidegate:1" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::000000000000:role/ap-southeast-1" }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:ap-southeast-1:000000000000:key/k-ap-southeast-1" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:ap-southeast-1:000000000000:tidegate-alarms" }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::logs-ap-southeast-1" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:ap-southeast-1:000000000000:log-group:g" }
}

mock_resource "aws_db_instance" {
  defaults = { arn = "arn:aws:rds:ap-southeast-1:000000000000:db:tidegate-ap-southeast-1", address = "tidegate.ap-southeast-1.rds.test" }
}

mock_data "aws_db_instances" {
  defaults = { instance_identifiers = [] }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = { arn = "arn:aws:secretsmanager:ap-southeast-1:000000000000:secret:s", id = "arn:aws:secretsmanager:ap-southeast-1:000000000000:secret:s" }
}

mock_resource "aws_secretsmanager_secret_version" {
  defaults = { arn = "arn:aws:secretsmanager:ap-southeast-1:000000000000:secret:url" }
}

mock_resource "aws_acm_certificate" {
  defaults = {
    arn = "arn:aws:acm:ap-southeast-1:000000000000:certificate/c-ap-southeast-1"
    domain_validation_options = [
      for host in ["api.example.com", "origin.api.example.com", "ap-southeast-1.origin.api.example.com", "s3-ap-southeast-1-aws.api.example.com"] : {
        domain_name           = host
        resource_record_name  = "_x.${host}"
        resource_record_type  = "CNAME"
        resource_record_value = "_y.acm.test"
      }
    ]
  }
}

mock_resource "aws_acm_certificate_validation" {
  defaults = { certificate_arn = "arn:aws:acm:ap-southeast-1:000000000000:certificate/c-ap-southeast-1" }
}

mock_resource "aws_service_discovery_private_dns_namespace" {
  defaults = { id = "ns-ap-southeast-1", hosted_zone = "Z-ap-southeast-1" }
}

mock_resource "aws_service_discovery_service" {
  defaults = { arn = "arn:aws:servicediscovery:ap-southeast-1:000000000000:service/srv" }
}

mock_resource "aws_efs_file_system" {
  defaults = { id = "fs-ap-southeast-1", arn = "arn:aws:elasticfilesystem:ap-southeast-1:000000000000:file-system/fs-ap-southeast-1" }
}

mock_resource "aws_efs_access_point" {
  defaults = { id = "fsap-ap-southeast-1", arn = "arn:aws:elasticfilesystem:ap-southeast-1:000000000000:access-point/fsap-ap-southeast-1" }
}
