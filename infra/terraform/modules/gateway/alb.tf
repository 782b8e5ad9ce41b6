# Only what carries the origin secret is forwarded, so that nobody goes around CloudFront and its WAF;
# one exact path is open for health checkers, which cannot send a header.

resource "aws_lb" "this" {
  #checkov:skip=CKV2_AWS_28:The WAF is at CloudFront, and nothing else gets past the listener without the origin secret
  name               = var.name
  load_balancer_type = "application"
  internal           = false
  ip_address_type    = "dualstack"
  subnets            = var.public_subnet_ids
  security_groups    = [aws_security_group.edge.id, aws_security_group.probes.id]

  # Above CloudFront's 60 s keep-alive, so that the origin is never the one to close first.
  idle_timeout               = 75
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "defensive"
  enable_deletion_protection = var.protected

  access_logs {
    bucket  = var.log_bucket
    enabled = true
  }
}

resource "aws_lb_target_group" "gateway" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; only its security group reaches the tasks behind it
  name_prefix          = "tide-"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = local.public_port
  deregistration_delay = 30

  # Liveness, not /health/edge: a lagging replica moves DNS, it must not kill tasks.
  health_check {
    path                = "/health/live"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTPS"
  port              = 443
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate_validation.origin.certificate_arn

  default_action {
    type = "fixed-response"

    fixed_response {
      status_code  = "403"
      content_type = "text/plain"
      message_body = "forbidden"
    }
  }
}

resource "aws_lb_listener_rule" "health" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 10

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gateway.arn
  }

  condition {
    path_pattern {
      values = ["/health/edge"]
    }
  }
}

resource "aws_lb_listener_rule" "verified" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 20

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gateway.arn
  }

  condition {
    http_header {
      http_header_name = "X-Origin-Verify"
      values           = var.origin_secrets
    }
  }
}
