terraform {
  required_version = ">= 1.11"
  required_providers {
    random = {
      source  = "hashicorp/random"
      version = "~> 3.7"
    }
    vault = {
      source  = "hashicorp/vault"
      version = "~> 5.0"
    }
  }
}

# The token comes from VAULT_TOKEN.
provider "vault" {
  address = "https://fluxkeep.example"
}

ephemeral "random_password" "db" {
  length = 32
}

# All secrets of the organization staging: those that aren't here are removed.
resource "vault_kv_secret_v2" "staging" {
  mount = "secret"
  name  = "staging"
  data_json_wo = jsonencode({
    db_password = ephemeral.random_password.db.result
  })
  data_json_wo_version = 1 # increase it to write again
}

# What is stored, for other providers: ephemeral.vault_kv_secret_v2.staging.data["db_password"]
ephemeral "vault_kv_secret_v2" "staging" {
  mount    = "secret"
  name     = "staging"
  mount_id = vault_kv_secret_v2.staging.id # read it after it is written
}
