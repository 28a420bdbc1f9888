terraform {
  required_providers {
    vault = {
      source = "hashicorp/vault"
    }
  }
}

# The address and the token come from VAULT_ADDR and VAULT_TOKEN.
provider "vault" {}

variable "mqtt_password" {
  type      = string
  sensitive = true
}

# All secrets of the organization "devices": those not named here are removed.
resource "vault_generic_secret" "devices" {
  path = "secret/devices"
  data_json = jsonencode({
    mqtt_password = var.mqtt_password
  })
}

data "vault_generic_secret" "acme" {
  path = "secret/acme"
}

output "db_password" {
  value     = data.vault_generic_secret.acme.data["db_password"]
  sensitive = true
}
