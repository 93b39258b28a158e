// What an identity may do with one storage account, and with no other.

@description('The account.')
param accountName string

@description('Object id of the identity.')
param principalId string

@description('Ids of built-in roles.')
param roleIds string[]

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: accountName
}

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in roleIds: {
    scope: account
    name: guid(account.id, principalId, role)
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]
