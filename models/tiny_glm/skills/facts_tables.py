"""The closed set of facts: tables of values in English and Chinese."""

from __future__ import annotations

from ..wordings import words


def rows(text: str, width: int) -> list[tuple[str, ...]]:
    """Split lines of ``a|b|…`` into tuples of ``width`` cells."""
    found = [tuple(cell.strip() for cell in line.split("|")) for line in text.strip().splitlines()]
    wrong = [row for row in found if len(row) != width]
    if wrong:
        raise ValueError(f"rows must have {width} cells, got {wrong[0]}")
    return found


COUNTRIES = rows(
    """France|Paris|Europe|法国|巴黎|欧洲
Germany|Berlin|Europe|德国|柏林|欧洲
England|London|Europe|英国|伦敦|欧洲
Spain|Madrid|Europe|西班牙|马德里|欧洲
Italy|Rome|Europe|意大利|罗马|欧洲
Portugal|Lisbon|Europe|葡萄牙|里斯本|欧洲
Austria|Vienna|Europe|奥地利|维也纳|欧洲
Greece|Athens|Europe|希腊|雅典|欧洲
Poland|Warsaw|Europe|波兰|华沙|欧洲
Sweden|Stockholm|Europe|瑞典|斯德哥尔摩|欧洲
Norway|Oslo|Europe|挪威|奥斯陆|欧洲
Denmark|Copenhagen|Europe|丹麦|哥本哈根|欧洲
Finland|Helsinki|Europe|芬兰|赫尔辛基|欧洲
Hungary|Budapest|Europe|匈牙利|布达佩斯|欧洲
Russia|Moscow|Europe|俄罗斯|莫斯科|欧洲
Ireland|Dublin|Europe|爱尔兰|都柏林|欧洲
Belgium|Brussels|Europe|比利时|布鲁塞尔|欧洲
Switzerland|Bern|Europe|瑞士|伯尔尼|欧洲
the Netherlands|Amsterdam|Europe|荷兰|阿姆斯特丹|欧洲
China|Beijing|Asia|中国|北京|亚洲
Japan|Tokyo|Asia|日本|东京|亚洲
South Korea|Seoul|Asia|韩国|首尔|亚洲
India|New Delhi|Asia|印度|新德里|亚洲
Thailand|Bangkok|Asia|泰国|曼谷|亚洲
Vietnam|Hanoi|Asia|越南|河内|亚洲
Turkey|Ankara|Asia|土耳其|安卡拉|亚洲
Egypt|Cairo|Africa|埃及|开罗|非洲
Kenya|Nairobi|Africa|肯尼亚|内罗毕|非洲
Morocco|Rabat|Africa|摩洛哥|拉巴特|非洲
Canada|Ottawa|North America|加拿大|渥太华|北美洲
the United States|Washington|North America|美国|华盛顿|北美洲
Mexico|Mexico City|North America|墨西哥|墨西哥城|北美洲
Cuba|Havana|North America|古巴|哈瓦那|北美洲
Brazil|Brasilia|South America|巴西|巴西利亚|南美洲
Argentina|Buenos Aires|South America|阿根廷|布宜诺斯艾利斯|南美洲
Chile|Santiago|South America|智利|圣地亚哥|南美洲
Peru|Lima|South America|秘鲁|利马|南美洲
Australia|Canberra|Australia|澳大利亚|堪培拉|大洋洲""",
    6,
)
COLOURS = rows(
    """the sky|blue|天空|蓝色
grass|green|草|绿色
snow|white|雪|白色
blood|red|血|红色
the sun|yellow|太阳|黄色
a banana|yellow|香蕉|黄色
a lemon|yellow|柠檬|黄色
coal|black|煤|黑色
milk|white|牛奶|白色
a tomato|red|西红柿|红色
a strawberry|red|草莓|红色
an orange|orange|橙子|橙色
a carrot|orange|胡萝卜|橙色
the sea|blue|大海|蓝色
a leaf|green|树叶|绿色
a frog|green|青蛙|绿色
chocolate|brown|巧克力|棕色
a pig|pink|猪|粉色
an elephant|grey|大象|灰色
a crow|black|乌鸦|黑色
the night|black|夜晚|黑色
a polar bear|white|北极熊|白色
a cucumber|green|黄瓜|绿色
salt|white|盐|白色
gold|yellow|黄金|黄色
coffee|brown|咖啡|棕色""",
    4,
)
SOUNDS = rows(
    """cow|moo|牛|哞
dog|woof|狗|汪汪
cat|meow|猫|喵
sheep|baa|羊|咩
duck|quack|鸭子|嘎嘎
pig|oink|猪|哼哼
horse|neigh|马|嘶嘶
bee|buzz|蜜蜂|嗡嗡
owl|hoot|猫头鹰|咕咕
lion|roar|狮子|吼
mouse|squeak|老鼠|吱吱
frog|ribbit|青蛙|呱呱
snake|hiss|蛇|咝咝""",
    4,
)
YOUNG = rows(
    "dog|puppy\ncat|kitten\ncow|calf\nhorse|foal\nsheep|lamb\npig|piglet\nduck|duckling\nlion|cub\nhen|chick\nfrog|tadpole\ngoat|kid\ngoose|gosling",
    2,
)
LEGS = rows(
    "spider|8|蜘蛛\ndog|4|狗\ncat|4|猫\nbird|2|鸟\nbee|6|蜜蜂\nant|6|蚂蚁\nhorse|4|马\nhuman|2|人\nsnake|0|蛇\nfish|0|鱼\ncow|4|牛\nduck|2|鸭子",
    3,
)
OPPOSITES = rows(
    """hot|cold|热|冷
big|small|大|小
up|down|上|下
left|right|左|右
day|night|白天|黑夜
black|white|黑|白
good|bad|好|坏
old|young|老|年轻
fast|slow|快|慢
happy|sad|高兴|难过
open|closed|开|关
long|short|长|短
high|low|高|低
rich|poor|富|穷
wet|dry|湿|干
hard|soft|硬|软
light|dark|亮|暗
full|empty|满|空
early|late|早|晚
strong|weak|强|弱
thick|thin|厚|薄
near|far|近|远
clean|dirty|干净|脏
loud|quiet|吵|安静
true|false|真|假
first|last|第一|最后
inside|outside|里面|外面
sweet|bitter|甜|苦
wide|narrow|宽|窄
many|few|多|少
yes|no|是|不是
begin|end|开始|结束
buy|sell|买|卖
love|hate|爱|恨
win|lose|赢|输
easy|difficult|容易|困难""",
    4,
)
TRANSLATIONS = rows(
    """cat|猫
dog|狗
horse|马
cow|牛
fish|鱼
bird|鸟
tiger|老虎
elephant|大象
panda|熊猫
rabbit|兔子
apple|苹果
banana|香蕉
water|水
tea|茶
milk|牛奶
bread|面包
rice|米饭
egg|鸡蛋
book|书
pen|笔
table|桌子
chair|椅子
house|房子
door|门
window|窗户
car|汽车
train|火车
school|学校
teacher|老师
student|学生
friend|朋友
mother|妈妈
father|爸爸
child|孩子
sun|太阳
moon|月亮
star|星星
mountain|山
river|河
sea|海
tree|树
flower|花
rain|雨
snow|雪
wind|风
fire|火
red|红色
blue|蓝色
green|绿色
yellow|黄色
hello|你好
thank you|谢谢
goodbye|再见
good morning|早上好
good night|晚安
yes|是
no|不
today|今天
tomorrow|明天
I love you|我爱你""",
    2,
)
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
DAYS_ZH = words("星期一 星期二 星期三 星期四 星期五 星期六 星期日")
MONTHS = words("January February March April May June July August September October November December")
MONTHS_ZH = words("一月 二月 三月 四月 五月 六月 七月 八月 九月 十月 十一月 十二月")
LETTERS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

# Wordings separated by slashes, the answer, the answer in one word; wordings and answer in Chinese.
SINGLE = rows(
    """How many days are in a week?/How many days does a week have?/A week has how many days?/Number of days in a week?/*How many days make a week? | A week has 7 days. | 7 | 一个星期有几天？/一周有几天？/一星期多少天？/*一周是几天？ | 一个星期有 7 天。
How many months are in a year?/How many months does a year have?/A year has how many months?/Number of months in a year?/*How many months make a year? | A year has 12 months. | 12 | 一年有几个月？/一年有多少个月？/一年几个月？/*一年是几个月？ | 一年有 12 个月。
How many days are in a year?/How many days does a year have?/A year has how many days?/*How many days make a year? | A year has 365 days. | 365 | 一年有多少天？/一年有几天？/一年多少天？/*一年是多少天？ | 一年有 365 天。
How many hours are in a day?/How many hours does a day have?/A day has how many hours?/*How many hours make a day? | A day has 24 hours. | 24 | 一天有多少小时？/一天有几个小时？/一天几小时？/*一天是多少小时？ | 一天有 24 小时。
How many minutes are in an hour?/How many minutes does an hour have?/An hour has how many minutes?/*How many minutes make an hour? | An hour has 60 minutes. | 60 | 一小时有多少分钟？/一个小时有几分钟？/一小时几分钟？/*一小时是多少分钟？ | 一小时有 60 分钟。
How many seconds are in a minute?/How many seconds does a minute have?/A minute has how many seconds?/*How many seconds make a minute? | A minute has 60 seconds. | 60 | 一分钟有多少秒？/一分钟有几秒？/*一分钟是多少秒？ | 一分钟有 60 秒。
How many letters are in the alphabet?/How many letters does the alphabet have?/How many letters are there in the English alphabet?/*The alphabet has how many letters? | The alphabet has 26 letters. | 26 | 英语有多少个字母？/字母表有几个字母？/*一共有多少个英文字母？ | 英语有 26 个字母。
How many planets are there?/How many planets are in the solar system?/How many planets does the sun have?/*The solar system has how many planets? | The solar system has 8 planets. | 8 | 太阳系有几颗行星？/有多少颗行星？/*太阳系有多少行星？ | 太阳系有 8 颗行星。
How many continents are there?/How many continents does the earth have?/*The earth has how many continents? | There are 7 continents. | 7 | 有几个大洲？/世界上有几大洲？/*地球有几个大洲？ | 有 7 个大洲。
How many fingers does a hand have?/How many fingers are on one hand?/How many fingers on a hand?/*One hand has how many fingers? | A hand has 5 fingers. | 5 | 一只手有几根手指？/一只手有多少手指？/*一只手几个手指？ | 一只手有 5 根手指。
How many sides does a triangle have?/How many corners does a triangle have?/A triangle has how many sides?/*How many sides are in a triangle? | A triangle has 3 sides. | 3 | 三角形有几条边？/三角形有多少条边？/*三角形几条边？ | 三角形有 3 条边。
How many sides does a square have?/A square has how many sides?/How many corners does a square have?/*How many sides are in a square? | A square has 4 sides. | 4 | 正方形有几条边？/正方形有多少条边？/*正方形几条边？ | 正方形有 4 条边。
What do bees make?/What does a bee make?/What do bees produce?/*Which food do bees make? | Bees make honey. | Honey | 蜜蜂做什么？/蜜蜂产什么？/*蜜蜂酿什么？ | 蜜蜂酿蜂蜜。
What do cows eat?/What does a cow eat?/What food do cows eat?/*What do cows like to eat? | Cows eat grass. | Grass | 牛吃什么？/奶牛吃什么？/*牛喜欢吃什么？ | 牛吃草。
What do pandas eat?/What does a panda eat?/What food do pandas eat?/*What do pandas like to eat? | Pandas eat bamboo. | Bamboo | 熊猫吃什么？/大熊猫吃什么？/*熊猫喜欢吃什么？ | 熊猫吃竹子。
Where does milk come from?/What animal gives milk?/Which animal gives us milk?/Who gives milk?/*From which animal do we get milk? | Milk comes from cows. | Cows | 牛奶从哪里来？/什么动物产奶？/*牛奶来自哪里？ | 牛奶来自奶牛。
What is water made of?/What does water consist of?/What is the formula of water?/What is H2O?/*Which elements make water? | Water is made of hydrogen and oxygen. | H2O | 水由什么组成？/水的成分是什么？/*水是由什么构成的？ | 水由氢和氧组成。
At what temperature does water boil?/When does water boil?/What is the boiling point of water?/*How hot must water be to boil? | Water boils at 100 degrees Celsius. | 100 | 水在多少度沸腾？/水的沸点是多少？/水几度开？/*水多少度会沸腾？ | 水在 100 摄氏度沸腾。
At what temperature does water freeze?/When does water freeze?/What is the freezing point of water?/*How cold must water be to freeze? | Water freezes at 0 degrees Celsius. | 0 | 水在多少度结冰？/水的冰点是多少？/水几度结冰？/*水多少度会结冰？ | 水在 0 摄氏度结冰。
What is ice?/What is ice made of?/Explain ice/*Tell me what ice is | Ice is frozen water. | Water | 冰是什么？/什么是冰？/*冰是由什么组成的？ | 冰是冻住的水。
What is the largest planet?/Which planet is the biggest?/What is the biggest planet in the solar system?/*Name the largest planet | The largest planet is Jupiter. | Jupiter | 最大的行星是哪个？/哪颗行星最大？/*太阳系最大的行星是什么？ | 最大的行星是木星。
What is the smallest planet?/Which planet is the smallest?/*Name the smallest planet | The smallest planet is Mercury. | Mercury | 最小的行星是哪个？/哪颗行星最小？/*太阳系最小的行星是什么？ | 最小的行星是水星。
Which planet do we live on?/What planet do we live on?/What is our planet called?/*On which planet do people live? | We live on the planet Earth. | Earth | 我们住在哪个行星上？/我们的星球叫什么？/*人类住在哪颗行星上？ | 我们住在地球上。
Which planet is red?/What is the red planet?/Which planet is called the red planet?/*What planet is red? | The red planet is Mars. | Mars | 哪颗行星是红色的？/红色的行星是哪个？/*红色星球是什么？ | 红色的行星是火星。
What is the sun?/Is the sun a star?/What kind of thing is the sun?/*Tell me what the sun is | The sun is a star. | A star | 太阳是什么？/什么是太阳？/*太阳是恒星吗？ | 太阳是一颗恒星。
What is the moon?/What does the moon do?/What goes around the earth?/*Tell me what the moon is | The moon goes around the earth. | The moon | 月亮是什么？/什么绕着地球转？/*月球绕着什么转？ | 月亮绕着地球转。
Where does the sun rise?/Where does the sun come up?/In which direction does the sun rise?/*On which side does the sun rise? | The sun rises in the east. | East | 太阳从哪里升起？/太阳从哪边升起？/*太阳从哪个方向升起？ | 太阳从东方升起。
Where does the sun set?/Where does the sun go down?/In which direction does the sun set?/*On which side does the sun set? | The sun sets in the west. | West | 太阳从哪里落下？/太阳从哪边落下？/*太阳从哪个方向落下？ | 太阳从西方落下。
What is the largest animal?/Which animal is the biggest?/What is the biggest animal in the world?/*Name the largest animal | The largest animal is the blue whale. | Blue whale | 最大的动物是什么？/哪种动物最大？/*世界上最大的动物是什么？ | 最大的动物是蓝鲸。
What is the tallest animal?/Which animal is the tallest?/*Name the tallest animal | The tallest animal is the giraffe. | Giraffe | 最高的动物是什么？/哪种动物最高？/*世界上最高的动物是什么？ | 最高的动物是长颈鹿。
What is the fastest animal?/Which animal is the fastest?/Which animal runs fastest?/*Name the fastest animal | The fastest animal on land is the cheetah. | Cheetah | 跑得最快的动物是什么？/哪种动物最快？/*世界上最快的动物是什么？ | 陆地上最快的动物是猎豹。
What is the highest mountain?/Which mountain is the highest?/What is the tallest mountain in the world?/*Name the highest mountain | The highest mountain is Mount Everest. | Mount Everest | 最高的山是哪座？/世界上最高的山是什么？/*哪座山最高？ | 最高的山是珠穆朗玛峰。
What is the largest ocean?/Which ocean is the biggest?/What is the biggest ocean?/*Name the largest ocean | The largest ocean is the Pacific. | The Pacific | 最大的海洋是哪个？/哪个海洋最大？/*世界上最大的海洋是什么？ | 最大的海洋是太平洋。
What is the longest river in China?/Which river in China is the longest?/*Name the longest river in China | The longest river in China is the Yangtze. | The Yangtze | 中国最长的河是哪条？/中国最长的河流是什么？/*中国哪条河最长？ | 中国最长的河是长江。
What is the largest country?/Which country is the biggest?/What is the biggest country in the world?/*Name the largest country | The largest country is Russia. | Russia | 最大的国家是哪个？/哪个国家最大？/*世界上最大的国家是什么？ | 最大的国家是俄罗斯。
Who wrote Romeo and Juliet?/Who wrote Hamlet?/Who is the author of Hamlet?/*By whom is Romeo and Juliet? | William Shakespeare wrote it. | Shakespeare | 谁写了罗密欧与朱丽叶？/哈姆雷特是谁写的？/*罗密欧与朱丽叶是谁写的？ | 是莎士比亚写的。
Who wrote Journey to the West?/Who is the author of Journey to the West?/*By whom is Journey to the West? | Wu Cheng'en wrote it. | Wu Cheng'en | 谁写了西游记？/西游记的作者是谁？/*西游记是谁写的？ | 是吴承恩写的。
Who painted the Mona Lisa?/Who is the painter of the Mona Lisa?/*By whom is the Mona Lisa? | Leonardo da Vinci painted it. | Leonardo da Vinci | 谁画了蒙娜丽莎？/蒙娜丽莎的作者是谁？/*蒙娜丽莎是谁画的？ | 是达·芬奇画的。
What do we breathe?/What do people breathe?/What do humans breathe?/*What is it that we breathe? | We breathe air. | Air | 我们呼吸什么？/人呼吸什么？/*人类呼吸什么？ | 我们呼吸空气。
What do plants need?/What does a plant need to grow?/What do plants need to live?/*What is needed by plants? | Plants need light, water and air. | Light | 植物需要什么？/植物生长需要什么？/*花草需要什么？ | 植物需要阳光、水和空气。
What is bread made of?/What is bread made from?/From what do we make bread?/*What do you need to make bread? | Bread is made from flour. | Flour | 面包是用什么做的？/面包由什么做成？/*做面包用什么？ | 面包是用面粉做的。
What is cheese made of?/What is cheese made from?/From what do we make cheese?/*What do you need to make cheese? | Cheese is made from milk. | Milk | 奶酪是用什么做的？/奶酪由什么做成？/*做奶酪用什么？ | 奶酪是用牛奶做的。
What season comes after winter?/Which season follows winter?/What comes after winter?/*Which season is after winter? | After winter comes spring. | Spring | 冬天之后是什么季节？/冬天过后是什么？/*冬季后面是什么季节？ | 冬天之后是春天。
What are the four seasons?/Name the seasons/Which seasons are there?/What seasons does a year have?/*List the four seasons | The seasons are spring, summer, autumn and winter. | Spring, summer, autumn and winter | 四季是什么？/一年有哪四个季节？/有哪些季节？/*四个季节是什么？ | 四季是春、夏、秋、冬。
What are the days of the week?/Name the days of the week/List all days of the week/Which days does a week have?/*Tell me all days of the week | Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday. | Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday | 一周有哪几天？/说出一周的每一天/*一个星期有哪些天？ | 星期一、星期二、星期三、星期四、星期五、星期六和星期日。
What is the currency of Japan?/What money do people use in Japan?/Which money is used in Japan?/*What is the money in Japan called? | The currency of Japan is the yen. | Yen | 日本的货币是什么？/日本用什么钱？/*日本人用什么货币？ | 日本的货币是日元。
What is the currency of China?/What money do people use in China?/Which money is used in China?/*What is the money in China called? | The currency of China is the yuan. | Yuan | 中国的货币是什么？/中国用什么钱？/*中国人用什么货币？ | 中国的货币是人民币。
What is the currency of France?/What money do people use in France?/Which money is used in France?/*What is the money in France called? | The currency of France is the euro. | Euro | 法国的货币是什么？/法国用什么钱？/*法国人用什么货币？ | 法国的货币是欧元。
What do you use to write?/What do people write with?/With what do we write?/*What do we need for writing? | People write with a pen. | A pen | 用什么写字？/人们用什么写字？/*写字要用什么？ | 人们用笔写字。
What do you wear on your feet?/What do we wear on our feet?/*What do people put on their feet? | People wear shoes on their feet. | Shoes | 脚上穿什么？/人们脚上穿什么？/*我们脚上穿什么？ | 脚上穿鞋。
Is the earth round?/What shape is the earth?/What is the shape of the earth?/Is the earth flat?/*Which shape does the earth have? | The earth is round. | Round | 地球是圆的吗？/地球是什么形状？/*地球的形状是什么？ | 地球是圆的。
Can fish fly?/Do fish fly?/Can a fish fly?/*Are fish able to fly? | No, fish swim. | No | 鱼会飞吗？/鱼能飞吗？/*鱼可以飞吗？ | 不会，鱼会游泳。
Can birds fly?/Do birds fly?/Can a bird fly?/*Are birds able to fly? | Yes, birds can fly. | Yes | 鸟会飞吗？/鸟能飞吗？/*鸟可以飞吗？ | 会，鸟会飞。
What is a computer?/Explain what a computer is/What does a computer do?/*Tell me what a computer is | A computer is a machine that works with data. | A machine | 电脑是什么？/什么是电脑？/*计算机是什么？ | 电脑是处理数据的机器。
What is a language model?/Explain language models/What does a language model do?/*Tell me what a language model is | A language model is a program that predicts the next word. | A program | 什么是语言模型？/语言模型是什么？/*解释一下语言模型 | 语言模型是预测下一个词的程序。
What is Python?/Explain Python/What's Python?/*Tell me what Python is | Python is a programming language. | A language | Python是什么？/什么是Python？/*介绍一下Python | Python 是一种编程语言。
What is gRPC?/Explain gRPC/What's gRPC?/What does gRPC do?/*Tell me what gRPC is | gRPC lets programs call each other over the network. | A protocol | gRPC是什么？/什么是gRPC？/*介绍一下gRPC | gRPC 让程序通过网络互相调用。""",
    5,
)
