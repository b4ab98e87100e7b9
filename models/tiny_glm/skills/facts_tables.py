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

# The answer, the answer in one word, the answer in Chinese; how they are asked is in wordings/single.txt.
SINGLE = rows(
    """A week has 7 days.|7|一个星期有 7 天。
A year has 12 months.|12|一年有 12 个月。
A year has 365 days.|365|一年有 365 天。
A day has 24 hours.|24|一天有 24 小时。
An hour has 60 minutes.|60|一小时有 60 分钟。
A minute has 60 seconds.|60|一分钟有 60 秒。
The alphabet has 26 letters.|26|英语有 26 个字母。
The solar system has 8 planets.|8|太阳系有 8 颗行星。
There are 7 continents.|7|有 7 个大洲。
A hand has 5 fingers.|5|一只手有 5 根手指。
A triangle has 3 sides.|3|三角形有 3 条边。
A square has 4 sides.|4|正方形有 4 条边。
Bees make honey.|Honey|蜜蜂酿蜂蜜。
Cows eat grass.|Grass|牛吃草。
Pandas eat bamboo.|Bamboo|熊猫吃竹子。
Milk comes from cows.|Cows|牛奶来自奶牛。
Water is made of hydrogen and oxygen.|H2O|水由氢和氧组成。
Water boils at 100 degrees Celsius.|100|水在 100 摄氏度沸腾。
Water freezes at 0 degrees Celsius.|0|水在 0 摄氏度结冰。
Ice is frozen water.|Water|冰是冻住的水。
The largest planet is Jupiter.|Jupiter|最大的行星是木星。
The smallest planet is Mercury.|Mercury|最小的行星是水星。
We live on the planet Earth.|Earth|我们住在地球上。
The red planet is Mars.|Mars|红色的行星是火星。
The sun is a star.|A star|太阳是一颗恒星。
The moon goes around the earth.|The moon|月亮绕着地球转。
The sun rises in the east.|East|太阳从东方升起。
The sun sets in the west.|West|太阳从西方落下。
The largest animal is the blue whale.|Blue whale|最大的动物是蓝鲸。
The tallest animal is the giraffe.|Giraffe|最高的动物是长颈鹿。
The fastest animal on land is the cheetah.|Cheetah|陆地上最快的动物是猎豹。
The highest mountain is Mount Everest.|Mount Everest|最高的山是珠穆朗玛峰。
The largest ocean is the Pacific.|The Pacific|最大的海洋是太平洋。
The longest river in China is the Yangtze.|The Yangtze|中国最长的河是长江。
The largest country is Russia.|Russia|最大的国家是俄罗斯。
William Shakespeare wrote it.|Shakespeare|是莎士比亚写的。
Wu Cheng'en wrote it.|Wu Cheng'en|是吴承恩写的。
Leonardo da Vinci painted it.|Leonardo da Vinci|是达·芬奇画的。
We breathe air.|Air|我们呼吸空气。
Plants need light, water and air.|Light|植物需要阳光、水和空气。
Bread is made from flour.|Flour|面包是用面粉做的。
Cheese is made from milk.|Milk|奶酪是用牛奶做的。
After winter comes spring.|Spring|冬天之后是春天。
The seasons are spring, summer, autumn and winter.|Spring, summer, autumn and winter|四季是春、夏、秋、冬。
Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.|Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday|星期一、星期二、星期三、星期四、星期五、星期六和星期日。
The currency of Japan is the yen.|Yen|日本的货币是日元。
The currency of China is the yuan.|Yuan|中国的货币是人民币。
The currency of France is the euro.|Euro|法国的货币是欧元。
People write with a pen.|A pen|人们用笔写字。
People wear shoes on their feet.|Shoes|脚上穿鞋。
The earth is round.|Round|地球是圆的。
No, fish swim.|No|不会，鱼会游泳。
Yes, birds can fly.|Yes|会，鸟会飞。
A computer is a machine that works with data.|A machine|电脑是处理数据的机器。
A language model is a program that predicts the next word.|A program|语言模型是预测下一个词的程序。
Python is a programming language.|A language|Python 是一种编程语言。
gRPC lets programs call each other over the network.|A protocol|gRPC 让程序通过网络互相调用。""",
    3,
)
