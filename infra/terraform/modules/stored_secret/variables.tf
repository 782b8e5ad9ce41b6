variable "secret_arn" {
  description = "The secret that receives the value."
  type        = string
}

variable "generation" {
  description = "Raise it to store a new random value; the old one is overwritten."
  type        = number
}

variable "mocked" {
  description = "Draw nothing, for terraform test: ephemeral resources cannot be mocked."
  type        = bool
}

variable "length" {
  description = "Characters that are drawn: letters and digits."
  type        = number
  default     = 48
}

variable "suffix" {
  description = "What follows them."
  type        = string
  default     = ""
}
