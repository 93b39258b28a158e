// A storage account that is opened by identities of Entra ID alone.

@description('Where it is.')
param location string

@minLength(3)
@maxLength(24)
@description('Of the account: lower-case letters and digits.')
param name string

@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
@description('How often it keeps what is written.')
param sku string

@description('The key of a vault that everything in it is encrypted with, and the identity that may use it; null for a key of Azure\'s own.')
param encryption { vaultUri: string, keyName: string, identityId: string }?

@description('Tables to make.')
param tables string[] = []

@description('Containers to make.')
param containers string[] = []

@description('Queues to make.')
param queues string[] = []

@description('Whether networks other than the private one reach it.')
param publicNetwork bool

@minValue(1)
@maxValue(365)
@description('Days that deleted blobs and containers can be brought back.')
param softDeleteDays int

@description('Which requests are logged, each as one line.')
param logged ('StorageRead' | 'StorageWrite' | 'StorageDelete')[]

@description('Who is told when it tells the service to come later.')
param actionGroupId string

@description('The workspace that its logs and metrics go to.')
param workspaceId string

@description('Tags of every resource.')
param tags object

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: sku }
  identity: encryption == null
    ? null
    : {
        type: 'UserAssigned'
        userAssignedIdentities: { '${encryption!.identityId}': {} }
      }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: publicNetwork ? 'Enabled' : 'Disabled'
    supportsHttpsTrafficOnly: true
    // Tables and queues are left to Azure's key unless theirs is the account's, which is said when the account is made.
    encryption: encryption == null
      ? { keySource: 'Microsoft.Storage' }
      : {
          keySource: 'Microsoft.Keyvault'
          identity: { userAssignedIdentity: encryption!.identityId }
          keyvaultproperties: {
            keyvaulturi: encryption!.vaultUri
            keyname: encryption!.keyName // without a version: the newest, which Storage looks for once a day
          }
          services: {
            blob: { keyType: 'Account' }
            file: { keyType: 'Account' }
            queue: { keyType: 'Account' }
            table: { keyType: 'Account' }
          }
        }
    networkAcls: {
      bypass: 'None'
      defaultAction: publicNetwork ? 'Allow' : 'Deny'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
  }

  resource container 'containers' = [
    for item in containers: {
      name: item
      properties: { publicAccess: 'None' }
    }
  ]
}

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-01-01' = {
  parent: account
  name: 'default'

  resource table 'tables' = [
    for item in tables: {
      name: item
    }
  ]
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-01-01' = {
  parent: account
  name: 'default'

  resource queue 'queues' = [
    for item in queues: {
      name: item
    }
  ]
}

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'cool'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: { blobTypes: ['blockBlob'] }
            actions: {
              baseBlob: {
                tierToCool: { daysAfterModificationGreaterThan: 90 }
              }
            }
          }
        }
      ]
    }
  }
  dependsOn: [blobs]
}

resource blobLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: blobs
  name: 'workspace'
  properties: {
    workspaceId: workspaceId
    logs: [
      for item in logged: {
        category: item
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

resource tableLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: tableService
  name: 'workspace'
  properties: {
    workspaceId: workspaceId
    logs: [
      for item in logged: {
        category: item
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

resource queueLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: queueService
  name: 'workspace'
  properties: {
    workspaceId: workspaceId
    logs: [
      for item in logged: {
        category: item
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'Transaction'
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
    description: 'Storage tells the service to come later.'
    severity: 2
    enabled: true
    scopes: [account.id]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'throttled'
          metricNamespace: 'Microsoft.Storage/storageAccounts'
          metricName: 'Transactions'
          dimensions: [
            {
              name: 'ResponseType'
              operator: 'Include'
              values: [
                'ServerBusyError'
                'ClientThrottlingError'
                'ClientAccountRequestThrottlingError'
                'ClientAccountBandwidthThrottlingError'
                'SuccessWithThrottling'
              ]
            }
          ]
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 10
        }
      ]
    }
    actions: [{ actionGroupId: actionGroupId }]
  }
}

output name string = account.name
output id string = account.id
output blobEndpoint string = account.properties.primaryEndpoints.blob
output queueEndpoint string = account.properties.primaryEndpoints.queue
