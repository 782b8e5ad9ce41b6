# A random value in Secrets Manager that never enters Terraform's state or a plan: it is drawn as an
# ephemeral value and stored by a write-only argument. `generation` decides when a new one is drawn, so
# an ordinary apply leaves the secret alone.

ephemeral "aws_secretsmanager_random_password" "new" {
  provider = aws.secrets
  count    = var.mocked ? 0 : 1

  password_length     = var.length
  exclude_punctuation = true # it stands in a URL
}

resource "aws_secretsmanager_secret_version" "this" {
  secret_id                = var.secret_arn
  secret_string_wo         = var.mocked ? "mocked" : "${ephemeral.aws_secretsmanager_random_password.new[0].random_password}${var.suffix}"
  secret_string_wo_version = var.generation
}
