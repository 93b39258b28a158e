// The vault: keys that wrap and sign, which never leave it.

@description('Where it is.')
param location string

@minLength(3)
@maxLength(24)
@description('Of the vault.')
param name string

@description('Object id of the identity that wraps and signs.')
param principalId string

@description('Whether networks other than the private one reach it.')
param publicNetwork bool

@allowed(['standard', 'premium'])
@description('premium keeps keys in hardware.')
param sku string

@minValue(28)
@maxValue(730)
@description('Days after which the key that wraps gets another version; former ones go on unwrapping.')
param rotateAfterDays int

@description('Whether the service itself may make another version: keylime payload rotate --vault.')
param serviceMayRotate bool

@description('Whether Azure\'s own services reach it past the network, as Storage must that encrypts with a key in it. They still need a role.')
param trustedServices bool

@description('Who is told when it tells the service to come later.')
param actionGroupId string

@description('The workspace that its audit log goes to.')
param workspaceId string

@description('Tags of every resource.')
param tags object

var cryptoUser = '12338af0-0e69-4776-bea7-57ae8d297424'

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: sku
    }
    enableRbacAuthorization: true
    enablePurgeProtection: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    publicNetworkAccess: publicNetwork ? 'Enabled' : 'Disabled'
    networkAcls: {
      bypass: trustedServices ? 'AzureServices' : 'None'
      defaultAction: publicNetwork ? 'Allow' : 'Deny'
    }
  }

  resource wrap 'keys' = {
    name: 'keylime-wrap'
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

  // Its public half is installed on the machines, so it is rotated by hand.
  resource sign 'keys' = {
    name: 'keylime-sign'
    properties: {
      kty: sku == 'premium' ? 'EC-HSM' : 'EC'
      curveName: 'P-256'
      keyOps: ['sign', 'verify']
    }
  }
}

resource mayWrap 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault::wrap
  name: guid(vault.id, 'keylime-wrap', principalId, cryptoUser)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', cryptoUser)
  }
}

resource maySign 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault::sign
  name: guid(vault.id, 'keylime-sign', principalId, cryptoUser)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', cryptoUser)
  }
}

// Crypto Officer would do, and could delete the key as well.
resource rotator 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (serviceMayRotate) {
  name: guid(vault.id, 'rotator')
  properties: {
    roleName: 'Keylime key rotator (${name})'
    description: 'Makes another version of a key, and nothing else.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        dataActions: ['Microsoft.KeyVault/vaults/keys/rotate/action']
      }
    ]
  }
}

resource mayRotate 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (serviceMayRotate) {
  scope: vault::wrap
  name: guid(vault.id, 'keylime-wrap', principalId, 'rotator')
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: rotator.id
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'workspace'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'audit'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

resource throttled 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-throttled'
  location: 'global'
  tags: tags
  properties: {
    description: 'The vault tells the service to come later.'
    severity: 2
    enabled: true
    scopes: [vault.id]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'throttled'
          metricNamespace: 'Microsoft.KeyVault/vaults'
          metricName: 'ServiceApiResult'
          dimensions: [
            {
              name: 'StatusCode'
              operator: 'Include'
              values: ['429']
            }
          ]
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 10
        }
      ]
    }
    actions: [{ actionGroupId: actionGroupId }]
  }
}

output id string = vault.id
output name string = vault.name
output uri string = vault.properties.vaultUri
