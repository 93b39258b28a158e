// The app: Flex Consumption, a custom handler, and no secret in any setting.

@description('Where it is.')
param location string

@description('Of the app; its address is https://NAME.azurewebsites.net.')
param name string

@description('The identity that it is.')
param identityId string

@description('Client id of that identity.')
param identityClientId string

@description('The storage account of the host.')
param hostAccountName string

@description('Its blob endpoint.')
param hostBlobEndpoint string

@description('The container that packages are deployed to.')
param packageContainer string

@description('Where the queue of deliveries is: the queue endpoint of the first account of state.')
param queueEndpoint string

@description('Connection string of Application Insights: an address, which opens nothing without the identity.')
param insightsConnectionString string

@description('The subnet that it goes out by; empty for none.')
param subnetId string

@allowed([512, 2048, 4096])
@description('Memory of an instance, in MB.')
param instanceMemoryMB int

@minValue(1)
@maxValue(1000)
@description('The most instances.')
param maximumInstances int

@minValue(0)
@maxValue(100)
@description('Instances that are there before anybody asks.')
param alwaysReadyInstances int

@minValue(1)
@maxValue(1000)
@description('Requests that one instance works on at a time.')
param perInstanceConcurrency int

@description('Settings of the service: KEYLIME_SERVICE_….')
param settings { name: string, value: string }[]

@description('The workspace that its logs go to.')
param workspaceId string

@description('Tags of every resource.')
param tags object

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: '${name}-plan'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'functions' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    publicNetworkAccess: 'Enabled' // agents come from anywhere
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hostBlobEndpoint}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'custom'
        version: '1.0'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReadyInstances == 0
          ? []
          : [
              {
                name: 'http'
                instanceCount: alwaysReadyInstances
              }
              {
                name: 'function:trg-sweep'
                instanceCount: 1
              }
            ]
        triggers: {
          http: { perInstanceConcurrency: perInstanceConcurrency }
        }
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      appSettings: concat(
        [
          {
            name: 'AzureWebJobsStorage__accountName'
            value: hostAccountName
          }
          {
            name: 'AzureWebJobsStorage__credential'
            value: 'managedidentity'
          }
          {
            name: 'AzureWebJobsStorage__clientId'
            value: identityClientId
          }
          {
            name: 'KeylimeQueue__queueServiceUri'
            value: queueEndpoint
          }
          {
            name: 'KeylimeQueue__credential'
            value: 'managedidentity'
          }
          {
            name: 'KeylimeQueue__clientId'
            value: identityClientId
          }
          {
            name: 'AZURE_CLIENT_ID'
            value: identityClientId
          }
          {
            name: 'AzureWebJobsDisableHomepage'
            value: 'true'
          }
          {
            name: 'APPLICATIONINSIGHTS_CONNECTION_STRING'
            value: insightsConnectionString
          }
          {
            name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING'
            value: 'ClientId=${identityClientId};Authorization=AAD'
          }
        ],
        settings
      )
    }
  }

  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }

  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: app
  name: 'workspace'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'FunctionAppLogs'
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

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
