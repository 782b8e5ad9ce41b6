# What AWS would answer in eu-west-1. ARNs carry the region, so that a resource made with the wrong alias shows.

mock_data "aws_region" {
  defaults = { name = "eu-west-1" }
}

mock_data "aws_availability_zones" {
  defaults = { names = ["eu-west-1a", "eu-west-1b", "eu-west-1c"] }
}

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_data "aws_iam_policy_document" {
  defaults = { json = "{}" }
}

mock_resource "aws_vpc" {
  defaults = { id = "vpc-eu-west-1", ipv6_cidr_block = "2600:1f00:1:100::/56" }
}

mock_resource "aws_lb" {
  defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:000000000000:loadbalancer/app/t/1", dns_name = "eu-west-1.elb.test" }
}

mock_resource "aws_lb_target_group" {
  defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:000000000000:targetgroup/t/1" }
}

mock_resource "aws_lb_listener" {
  defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:000000000000:listener/app/t/1/2" }
}

mock_resource "aws_ecs_cluster" {
  defaults = { arn = "arn:aws:ecs:eu-west-1:000000000000:cluster/tidegate" }
}

mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws:ecs:eu-west-1:000000000000:task-definition/tidegate:1" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::000000000000:role/eu-west-1" }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:eu-west-1:000000000000:key/k-eu-west-1" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:eu-west-1:000000000000:tidegate-alarms" }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::logs-eu-west-1" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:eu-west-1:000000000000:log-group:g" }
}

mock_resource "aws_db_instance" {
  defaults = { arn = "arn:aws:rds:eu-west-1:000000000000:db:tidegate-eu-west-1", address = "tidegate.eu-west-1.rds.test" }
}

mock_data "aws_db_instances" {
  defaults = { instance_identifiers = [] }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = { arn = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:s", id = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:s" }
}

mock_resource "aws_secretsmanager_secret_version" {
  defaults = { arn = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:url" }
}

mock_resource "aws_acm_certificate" {
  defaults = {
    arn = "arn:aws:acm:eu-west-1:000000000000:certificate/c-eu-west-1"
    domain_validation_options = [
      for host in ["api.example.com", "origin.api.example.com", "eu-west-1.origin.api.example.com", "s3-eu-west-1-aws.api.example.com"] : {
        domain_name           = host
        resource_record_name  = "_x.${host}"
        resource_record_type  = "CNAME"
        resource_record_value = "_y.acm.test"
      }
    ]
  }
}

mock_resource "aws_acm_certificate_validation" {
  defaults = { certificate_arn = "arn:aws:acm:eu-west-1:000000000000:certificate/c-eu-west-1" }
}

mock_resource "aws_service_discovery_private_dns_namespace" {
  defaults = { id = "ns-eu-west-1", hosted_zone = "Z-eu-west-1" }
}

mock_resource "aws_service_discovery_service" {
  defaults = { arn = "arn:aws:servicediscovery:eu-west-1:000000000000:service/srv" }
}

mock_resource "aws_efs_file_system" {
  defaults = { id = "fs-eu-west-1", arn = "arn:aws:elasticfilesystem:eu-west-1:000000000000:file-system/fs-eu-west-1" }
}

mock_resource "aws_efs_access_point" {
  defaults = { id = "fsap-eu-west-1", arn = "arn:aws:elasticfilesystem:eu-west-1:000000000000:access-point/fsap-eu-west-1" }
}
