# What AWS would answer in us-east-1. ARNs carry the region, so that a resource made with the wrong alias shows.

mock_data "aws_region" {
  defaults = { name = "us-east-1" }
}

mock_data "aws_availability_zones" {
  defaults = { names = ["us-east-1a", "us-east-1b", "us-east-1c"] }
}

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_data "aws_iam_policy_document" {
  defaults = { json = "{}" }
}

mock_resource "aws_vpc" {
  defaults = { id = "vpc-us-east-1", ipv6_cidr_block = "2600:1f00:1:100::/56" }
}

mock_resource "aws_lb" {
  defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/t/1", dns_name = "us-east-1.elb.test" }
}

mock_resource "aws_lb_target_group" {
  defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/t/1" }
}

mock_resource "aws_lb_listener" {
  defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener/app/t/1/2" }
}

mock_resource "aws_ecs_cluster" {
  defaults = { arn = "arn:aws:ecs:us-east-1:000000000000:cluster/tidegate" }
}

mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws:ecs:us-east-1:000000000000:task-definition/tidegate:1" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::000000000000:role/us-east-1" }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:us-east-1:000000000000:key/k-us-east-1" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:us-east-1:000000000000:tidegate-alarms" }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::logs-us-east-1" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:us-east-1:000000000000:log-group:g" }
}

mock_resource "aws_db_instance" {
  defaults = { arn = "arn:aws:rds:us-east-1:000000000000:db:tidegate-us-east-1", address = "tidegate.us-east-1.rds.test" }
}

mock_data "aws_db_instances" {
  defaults = { instance_identifiers = [] }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = { arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:s", id = "arn:aws:secretsmanager:us-east-1:000000000000:secret:s" }
}

mock_resource "aws_secretsmanager_secret_version" {
  defaults = { arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:url" }
}

mock_resource "aws_acm_certificate" {
  defaults = {
    arn = "arn:aws:acm:us-east-1:000000000000:certificate/c-us-east-1"
    domain_validation_options = [
      for host in ["api.example.com", "origin.api.example.com", "us-east-1.origin.api.example.com", "s3-us-east-1-aws.api.example.com"] : {
        domain_name           = host
        resource_record_name  = "_x.${host}"
        resource_record_type  = "CNAME"
        resource_record_value = "_y.acm.test"
      }
    ]
  }
}

mock_resource "aws_acm_certificate_validation" {
  defaults = { certificate_arn = "arn:aws:acm:us-east-1:000000000000:certificate/c-us-east-1" }
}

mock_resource "aws_wafv2_web_acl" {
  defaults = { arn = "arn:aws:wafv2:us-east-1:000000000000:global/webacl/edge/1" }
}

mock_resource "aws_cloudfront_function" {
  defaults = { arn = "arn:aws:cloudfront::000000000000:function/consistency" }
}

mock_resource "aws_cloudfront_distribution" {
  defaults = { arn = "arn:aws:cloudfront::000000000000:distribution/E1" }
}


mock_resource "aws_cloudwatch_log_delivery_destination" {
  defaults = { arn = "arn:aws:logs:us-east-1:000000000000:delivery-destination:edge" }
}

mock_data "aws_secretsmanager_secret_version" {
  defaults = { secret_string = "origin-secret-of-the-test" }
}

mock_resource "aws_service_discovery_private_dns_namespace" {
  defaults = { id = "ns-us-east-1", hosted_zone = "Z-us-east-1" }
}

mock_resource "aws_service_discovery_service" {
  defaults = { arn = "arn:aws:servicediscovery:us-east-1:000000000000:service/srv" }
}

mock_resource "aws_efs_file_system" {
  defaults = { id = "fs-us-east-1", arn = "arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-us-east-1" }
}

mock_resource "aws_efs_access_point" {
  defaults = { id = "fsap-us-east-1", arn = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-us-east-1" }
}
