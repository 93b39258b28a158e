// Where logs and metrics go, and who is told.

@description('Where it is.')
param location string

@description('In front of the names.')
param name string

@minValue(30)
@maxValue(730)
@description('Days that logs are kept.')
param retentionDays int

@description('Object id of the identity that sends telemetry.')
param principalId string

@description('Addresses that alerts are sent to; none means that alerts are only to be seen in the portal.')
param alertEmails string[]

@minValue(600)
@description('Seconds after which a machine has not attested for too long: more than the longest interval that a machine of the fleet has.')
param oldestProofSeconds int = 90000

@description('Tags of every resource.')
param tags object

var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: '${name}-logs'
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retentionDays
    features: { disableLocalAuth: true }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: '${name}-insights'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    DisableLocalAuth: true
    WorkspaceResourceId: workspace.id
  }
}

resource maySend 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, principalId, metricsPublisher)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
  }
}

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${name}-people'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'keylime'
    emailReceivers: [
      for address in alertEmails: {
        name: address
        emailAddress: address
        useCommonAlertSchema: true
      }
    ]
  }
}

// The service writes one line of JSON for each verdict; the host keeps it as a trace, and each call as a request. Traces are all kept, requests are sampled
// (host.json): what must not be missed is a trace, and what is counted of requests is counted with those that a kept one stands for.
var rules = [
  {
    name: 'node-failed'
    text: 'A machine failed its attestation.'
    severity: 1
    query: 'AppTraces | where Message has "Judged attestation" and Message contains "\\"Evaluation\\":\\"fail\\""'
    threshold: 0
    operator: 'GreaterThan'
    minutes: 5
  }
  {
    name: 'sweep-missing'
    text: 'The timer that looks for silent machines has not run for a quarter of an hour.'
    severity: 1
    query: 'AppTraces | where Message startswith "Executed \'Functions.trg-sweep\' (Succeeded"'
    threshold: 1
    operator: 'LessThan'
    minutes: 15
  }
  {
    name: 'deliveries-failed'
    text: 'The timer that finds what waits for webhooks without a message fails.'
    severity: 2
    query: 'AppTraces | where Message startswith "Executed \'Functions.trg-deliveries\' (Failed"'
    threshold: 2
    operator: 'GreaterThan'
    minutes: 15
  }
  {
    name: 'delivery-given-up'
    text: 'A webhook did not take an event for three days, and will not get it any more.'
    severity: 1
    query: 'AppTraces | where Message has "Gave up delivering"'
    threshold: 0
    operator: 'GreaterThan'
    minutes: 15
  }
  {
    name: 'delivery-poisoned'
    text: 'A message of the queue of deliveries failed again and again, or is none of ours.'
    severity: 2
    query: 'AppTraces | where Message has "Poisoned in the queue of deliveries"'
    threshold: 0
    operator: 'GreaterThan'
    minutes: 15
  }
  {
    name: 'server-errors'
    text: 'Requests are answered with 5xx.'
    severity: 2
    // The host's: the service sends the same requests again, some of them, as its traces.
    query: 'AppRequests | where AppRoleName != "keylime-service" and toint(ResultCode) >= 500 | mv-expand Each = range(1, ItemCount, 1)'
    threshold: 10
    operator: 'GreaterThan'
    minutes: 15
  }
  {
    name: 'oldest-proof'
    text: 'A machine that is not retired has not attested for too long.'
    severity: 2
    query: 'AppMetrics | where Name == "keylime.nodes.oldest_proof" and Max > ${oldestProofSeconds}'
    threshold: 0
    operator: 'GreaterThan'
    minutes: 15
  }
  {
    name: 'sweep-lag'
    text: 'Silence of machines is told more than ten minutes late.'
    severity: 1
    query: 'AppMetrics | where Name == "keylime.sweep.lag" and Max > 600'
    threshold: 0
    operator: 'GreaterThan'
    minutes: 15
  }
  {
    name: 'delivery-dead'
    text: 'An event was not delivered and will not be: its receiver said that it has gone, or did not take it for three days.'
    severity: 2
    query: 'AppMetrics | where Name == "keylime.deliveries" and tostring(Properties["keylime.delivery.result"]) == "dead" and Sum > 0'
    threshold: 0
    operator: 'GreaterThan'
    minutes: 15
  }
]

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: '${name}-${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: '${name}: ${rule.text}'
      description: rule.text
      severity: rule.severity
      enabled: true
      autoMitigate: true
      scopes: [workspace.id]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT${rule.minutes}M'
      skipQueryValidation: true // its tables come with the first line
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: rule.operator
            threshold: rule.threshold
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: { actionGroups: [people.id] }
    }
  }
]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, name, 'workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: '${name}: Keylime.Serverless'
    category: 'workbook'
    sourceId: workspace.id
    version: '1.0'
    serializedData: loadTextContent('../dashboards/workbook.json')
  }
}

output actionGroupId string = people.id
output workspaceId string = workspace.id
output connectionString string = insights.properties.ConnectionString
