// The key that stores of state are encrypted with, and who may use it. All of it is there before an account is made that wants it.

@description('The vault.')
param vaultName string

@description('Of the key.')
param keyName string

@allowed(['standard', 'premium'])
@description('premium keeps the key in hardware.')
param sku string

@minValue(28)
@maxValue(730)
@description('Days after which the key gets another version; what former ones have encrypted stays readable.')
param rotateAfterDays int

@description('Object id of the identity that Storage is when it encrypts.')
param principalId string

var serviceEncryptionUser = 'e147488a-f6f5-4113-8e2d-b22465e65bf6'

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName

  resource key 'keys' = {
    name: keyName
    properties: {
      kty: sku == 'premium' ? 'RSA-HSM' : 'RSA'
      keySize: 3072
      keyOps: ['wrapKey', 'unwrapKey']
      rotationPolicy: {
        lifetimeActions: [
          {
            trigger: { timeAfterCreate: 'P${rotateAfterDays}D' }
            action: { type: 'rotate' }
          }
        ]
      }
    }
  }
}

resource mayWrap 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault::key
  name: guid(vault.id, keyName, principalId, serviceEncryptionUser)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', serviceEncryptionUser)
  }
}
